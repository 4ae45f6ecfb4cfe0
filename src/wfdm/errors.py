"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Bad input or something missing, in one line: what is wrong, where, how to correct it.

    The command line prints the message without a traceback and exits with `status`.
    """

    status = 1


class SessionError(UserError):
    """The scans of one session cannot be used; the other sessions can."""
