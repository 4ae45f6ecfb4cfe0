"""One index of a results root, from every output to the record that lists it."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wfdm.errors import TEMPORARY
from wfdm.provenance.records import SUFFIX
from wfdm.provenance.roots import MARKER, Root
from wfdm.provenance.seal import seal_of

WORDS = ("stage", "code", "started", "device")  # entries of a record that are text
KEPT = (*WORDS, "seed", "seconds", "environment")  # there may be many records: no more than is told

MEND = "restore it, or delete it with the files that it lists and make them again"


@dataclass(frozen=True)
class Problem:
    """What is wrong, and with which file: a resolved path."""

    path: str
    what: str


@dataclass(frozen=True)
class Record:
    """A record as the audit needs it.

    Attributes:
        path: its own, resolved.
        content: what it says of stage, code, seed, device, environment and time.
        outputs: resolved path to sha256 of what was made.
        inputs: the same of what it was made from, in the record's order.
        seal: of the record; empty where it is broken.
    """

    path: str
    content: Mapping[str, Any]
    outputs: Mapping[str, str]
    inputs: Mapping[str, str]
    seal: str

    @property
    def main(self) -> str:
        """The output that the record lies beside; of a session's, the first."""
        beside = self.path.removesuffix(SUFFIX)
        return beside if beside in self.outputs else next(iter(self.outputs))


class Links:
    """Resolves links. A folder is looked at once, so that many files cost little."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def resolve(self, path: str) -> str:
        """Return an absolute path with every link resolved; it need not exist."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        found = os.path.join(self._folders[folder], name)
        return os.path.realpath(found) if os.path.islink(found) else found


class Index:
    """The records under one results root; each is read once.

    Attributes:
        root: the results root.
        records: by their own resolved path.
        maker: of each output's resolved path, the record that lists it.
        problems: records that cannot be read, were edited, or list the same output.
        outside: files that links in the root lead to, elsewhere; they belong to it.
    """

    def __init__(self, root: Root, links: Links) -> None:
        self.root, self._links = root, links
        self.records: dict[str, Record] = {}
        self.maker: dict[str, Record] = {}
        self.problems: list[Problem] = []
        self.outside: set[str] = set()
        for _, path in self.files(root.path):
            if not root.holds(path):
                self.outside.add(path)
            if path.endswith(SUFFIX) and not os.path.basename(path).startswith(TEMPORARY):
                self._add(path)

    def files(self, folder: str) -> Iterator[tuple[str, str]]:
        """Yield every file under a folder, as found and resolved; not those of other roots."""
        seen = set()
        for place, folders, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(place)
            if real in seen or (MARKER in names and real != self.root.path):
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            for name in sorted(names):
                path = os.path.join(place, name)
                yield path, self._links.resolve(path)

    def _add(self, path: str) -> None:
        if path in self.records:
            return
        record = self._read(path)
        if record is None:
            self.problems.append(Problem(path, f"is cut or no provenance record: {MEND}"))
            return
        if not record.seal:
            self.problems.append(Problem(path, f"was edited after it was written: {MEND}"))
        self.records[path] = record
        for output in record.outputs:
            other = self.maker.setdefault(output, record)
            if other is not record:
                told = self.root.told(other.path)
                self.problems.append(
                    Problem(
                        output,
                        f"is listed as made by two records, {told} and {self.root.told(path)}: "
                        "delete the one that is left from an earlier run",
                    )
                )

    def _read(self, path: str) -> Record | None:
        """Return a record; None where it is cut, no JSON, or lacks what a record has."""
        try:
            text = Path(path).read_text(encoding="utf-8")
            content = json.loads(text)
            listed = [content[key] for key in ("outputs", "inputs")]
            whole = all(_is_listing(each) for each in listed) and listed[0]
            told = all(isinstance(content[key], str) for key in WORDS)
            if not (whole and told and isinstance(content["environment"], dict)):
                return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        outputs, inputs = (self._placed(path, listed[0], each) for each in listed)
        kept = {key: content.get(key) for key in KEPT}
        return Record(path, kept, outputs, inputs, seal_of(text) or "")

    def _placed(
        self, record: str, outputs: Mapping[str, str], listed: Mapping[str, str]
    ) -> dict[str, str]:
        """Return what a record lists by resolved path."""
        root, folder = self.root, os.path.dirname(record)
        name = os.path.normpath(next(iter(outputs)))
        if not os.path.isabs(name) and not root.holds(root.place(name)):
            # A command that was run by hand in another folder: the record lies beside its file.
            inner = os.path.dirname(name)
            start = folder.removesuffix(inner).rstrip(os.sep) if inner else folder
            root = Root(root.path, root.path, start)
        return {self._links.resolve(root.place(each)): sha for each, sha in listed.items()}


def _is_listing(listed: Any) -> bool:
    return isinstance(listed, dict) and all(isinstance(sha, str) for sha in listed.values())
