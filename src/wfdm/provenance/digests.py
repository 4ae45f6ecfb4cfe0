"""Digests of files."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def sha256_of(path: Path | str) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """Return path (as given) to sha256, sorted by path."""
    return {str(path): sha256_of(path) for path in sorted(set(paths))}
