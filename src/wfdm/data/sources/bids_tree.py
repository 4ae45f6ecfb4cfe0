"""What lies in a folder of BIDS data: every file, where it belongs, and whether it can be read."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wfdm.data.bids_names import IMAGES, natural

# Folders beside sub-* that hold no raw scans by BIDS; they may be huge, and are not gone through.
LEFT_ALONE = ("derivatives", "sourcedata", "code", "stimuli")
# How images of other formats end, and copies that are not finished.
OTHER_IMAGES = (
    *(".img", ".hdr", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".mnc", ".dcm", ".ima"),
    *(".img.gz", ".hdr.gz", ".par", ".rec", ".head", ".brik", ".brik.gz", ".gipl", ".nii.zst"),
)


@dataclass(frozen=True)
class Entry:
    """A file, or a folder that was not gone through.

    Attributes:
        path: where it lies, under the root as it was given.
        parts: of its path below the root.
        kind: "file"; "folder" for one that is left alone.
        problem: why it cannot be used whatever it is; "" for a file that can be read.
    """

    path: Path
    parts: tuple[str, ...]
    kind: Literal["file", "folder"]
    problem: str = ""

    @property
    def image(self) -> bool:
        """Return whether it looks like an image, of whatever format."""
        if self.kind != "file":
            return False
        name = self.parts[-1].lower()
        return name.endswith((*IMAGES, *OTHER_IMAGES)) or ".nii." in name


def walk(root: Path) -> Iterator[Entry]:
    """Yield every file below `root` once, in natural order; links to folders are followed.

    Hidden folders and `LEFT_ALONE` are entries as a whole, as are folders that cannot be read and
    links that lead back to a folder above them.
    """
    yield from _walk(root, (), {os.path.realpath(root)})


def _walk(folder: Path, parts: tuple[str, ...], above: set[str]) -> Iterator[Entry]:
    try:
        names = sorted(os.listdir(folder), key=natural)
    except OSError as error:
        problem = f"the folder cannot be read ({error.strerror}): give this user the right to it"
        yield Entry(folder, parts, "folder", problem)
        return
    for name in names:
        path, below = folder / name, (*parts, name)
        if not path.is_dir():
            yield Entry(path, below, "file", _problem(path))
        elif left := _left_alone(below):
            yield Entry(path, below, "folder", left)
        elif (real := os.path.realpath(path)) in above:
            yield Entry(path, below, "folder", "a link to a folder above it")
        else:
            yield from _walk(path, below, above | {real})


def _left_alone(parts: tuple[str, ...]) -> str:
    if parts[-1].startswith("."):
        return "a hidden folder: not gone through"
    if parts[-1] in LEFT_ALONE and not any(part.startswith("sub-") for part in parts):
        return (
            f"{parts[-1]}/ holds no raw scans by BIDS: not gone through; if it does, give it a "
            "source of its own"
        )
    return ""


def _problem(path: Path) -> str:
    """Return why a file cannot be read; "" when it can."""
    try:
        size = os.stat(path).st_size
    except OSError as error:
        if path.is_symlink():
            return "a link that leads nowhere: fetch its content (datalad get, git annex get)"
        return f"cannot be read ({error.strerror})"
    if not path.is_file():
        return "no regular file"
    if not os.access(path, os.R_OK):
        return "cannot be read (Permission denied): give this user the right to it"
    return "" if size else "the file is empty: fetch it again"


@dataclass(frozen=True)
class Dataset:
    """A dataset: the name that labels it, and where its sub-* folders lie below the source."""

    name: str
    parts: tuple[str, ...]


def datasets(root: Path) -> list[Dataset]:
    """Return the datasets of a source's folder: itself, or the folders in it, by their sub-*.

    A dataset may keep its sub-* folders in `rawdata/`, beside its derivatives.
    """
    if found := _dataset(root, ()):
        return [Dataset(root.resolve().name, found[0])]
    names = sorted((each for each in _listed(root) if (root / each).is_dir()), key=natural)
    inner = ((name, _dataset(root / name, (name,))) for name in names if not _left_alone((name,)))
    return [Dataset(name, found[0]) for name, found in inner if found]


def _dataset(folder: Path, parts: tuple[str, ...]) -> list[tuple[str, ...]]:
    for inner in ((), ("rawdata",)):
        here = folder.joinpath(*inner)
        if any(name.startswith("sub-") and (here / name).is_dir() for name in _listed(here)):
            return [(*parts, *inner)]
    return []


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []  # `walk` says so
