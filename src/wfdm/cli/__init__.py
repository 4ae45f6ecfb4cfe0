"""The `wfdm` command: one thin command per stage, on the same files that the rules use."""

from wfdm.cli.app import main

__all__ = ["main"]
