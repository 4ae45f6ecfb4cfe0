"""The `wfdm` command: parses, calls a stage, nothing more."""

from wfdm.cli.app import main

__all__ = ["main"]
