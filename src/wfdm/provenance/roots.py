"""Results roots: which folder holds a study's results, and where the paths in its records start.

A root is a folder with the study's configuration, `study.yaml`, and the record of it, which the
workflow writes when it begins to work. So any file's root is found from the file alone. Records
spell paths as the workflow did, relative to the folder that it ran in; the record of `study.yaml`
tells how it spelled the root, and which folder that was. Both may have been moved together since,
or copied.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wfdm.atomic import write_text
from wfdm.errors import TEMPORARY, UserError
from wfdm.provenance.digests import digests
from wfdm.provenance.records import SUFFIX, Began, read, record_path, write
from wfdm.provenance.seal import seal_of

STUDY = "study.yaml"
MARKER = STUDY + SUFFIX  # the record: a configuration may be called study.yaml anywhere
BESIDE = ("logs", "cache")  # folders of a root that hold no results
TRAINED = ("compressors", "denoisers", "gans")
RESUMABLE = ("last", "tensorboard")  # of a training's folder: it goes on from these, or shows them
OTHERS = ("README.md", "report.html", "report.zip")  # in the root itself
LEFT = (".snakemake_timestamp", ".gitignore")  # Snakemake and DVC write these


@dataclass(frozen=True)
class Root:
    """A results root.

    Attributes:
        path: of the folder, every link resolved.
        name: the same folder as records spell it, such as "results/demo".
        start: the folder where relative paths in records start.
    """

    path: str
    name: str
    start: str

    def place(self, name: str) -> str:
        """Return the absolute path, links unresolved, of what a record calls `name`."""
        normal = os.path.normpath(name)
        if normal == self.name or normal.startswith(self.name + os.sep):
            return self.path + normal[len(self.name) :]
        return os.path.normpath(os.path.join(self.start, name))

    def told(self, path: str) -> str:
        """Return how a person calls a path: as records do, where it lies below `start`."""
        if path == self.path or path.startswith(self.path + os.sep):
            return self.name + path[len(self.path) :]
        inside = path.startswith(self.start + os.sep)
        return os.path.relpath(path, self.start) if inside else path

    def holds(self, path: str) -> bool:
        """Return whether a resolved path lies under the root."""
        return path.startswith(self.path + os.sep)

    def is_result(self, path: str) -> bool:
        """Return whether a file must have a record: all under the root but what is named above."""
        if not self.holds(path):
            return True
        *folders, name = path[len(self.path) + 1 :].split(os.sep)
        if name in LEFT or name.startswith(TEMPORARY) or (not folders and name in OTHERS):
            return False
        training = len(folders) > 2 and folders[0] in TRAINED and folders[2] in RESUMABLE
        return not training and (not folders or folders[0] not in BESIDE)


def mark(folder: Path, configuration: str, settings: dict[str, Any]) -> None:
    """Write `study.yaml` into a results root, and its record, unless both are there already.

    Args:
        folder: the root, as the study spells it.
        configuration: of the study, as YAML.
        settings: the same as plain values.
    """
    marker, here = folder / STUDY, os.getcwd()
    record = record_path(marker)
    if marker.is_file() and record.is_file() and seal_of(record.read_text(errors="replace")):
        same = marker.read_text(errors="replace") == configuration
        if same and read(record)["results"].get("folder") == here:
            return
    began = Began()
    write_text(marker, configuration)
    write(record, "study", digests([marker]), {}, settings, "", {"folder": here}, began)


def marked(folder: str) -> Root:
    """Return the root that a folder with `study.yaml` is.

    Raises:
        UserError: its record is cut, or tells no longer where the study ran.
    """
    record = Path(folder, MARKER)
    try:
        content = read(record)
        (marker,), ran = content["outputs"], str(content["results"]["folder"])
    except (OSError, UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"audit: {record} is cut: it tells where the study ran; restore it, or run the "
            "workflow again"
        ) from error
    name = os.path.normpath(os.path.dirname(marker))
    if os.path.isabs(name):
        return Root(folder, name, ran if os.path.isdir(ran) else os.getcwd())
    moved = folder.removesuffix(os.sep + name)
    for start in (ran, moved, os.getcwd()):
        if os.path.realpath(os.path.join(start, name)) == folder:
            return Root(folder, name, os.path.realpath(start))
    raise UserError(
        f"audit: {folder} was moved and lies in no folder as {name}: run the audit in the folder "
        f"that the study ran in, so that {name} leads to it"
    )


def unmarked(folder: Path) -> Root:
    """Return a root for a folder without `study.yaml`: records' paths start where we are."""
    path, here = os.path.realpath(folder), os.path.realpath(os.curdir)
    inside = path.startswith(here + os.sep)
    return Root(path, os.path.relpath(path, here) if inside else path, here)
