"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Bad input or a missing piece, told in one line: what, where, how to mend it.

    The command line prints the message without a traceback and exits with status 1.
    """


class SessionError(UserError):
    """The scans of one session cannot be used; the other sessions of a study can go on."""
