"""The audit: from any artefact back to the raw scans, every digest verified.

Files are known by their resolved paths, so no spelling and no link leads past a record. Whatever
lies under a results root must be listed by a record; what lies elsewhere is a source.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from wfdm.errors import UserError
from wfdm.provenance.digests import sha256_of
from wfdm.provenance.index import Index, Links, Problem, Record
from wfdm.provenance.records import SUFFIX
from wfdm.provenance.roots import MARKER, STUDY, Root, marked, unmarked

UNRECORDED = (
    "lies under the results root and no record lists it: delete it if it is left from an earlier "
    "run, else make it again"
)


@dataclass
class Findings:
    """What an audit found.

    Attributes:
        asked: resolved path of the file, or of each file under the folder, that was asked for.
        artefacts: resolved path to sha256 of every file that a walked record made.
        sources: the same of what no study made: raw scans, assets, published tables.
        records: that were walked, by resolved path.
        problems: at most one for each file, in the order of the paths.
        notes: what is worth knowing and no error.
    """

    asked: list[str]
    artefacts: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def chain(self) -> str:
        """Digest over the seals of all records that were walked: another chain, another digest."""
        seals = sorted(record.seal for record in self.records.values())
        return sha256("\n".join(seals).encode()).hexdigest()


class Audit:
    """Walks provenance records; each is read once, and each file hashed once.

    Args:
        root: results root of files that lie under none: a folder above with `study.yaml`.
        wrong_asset: given a source and its sha256, returns what is wrong if it is a registered
            asset with another checksum, else None.
    """

    def __init__(
        self,
        root: Path | None = None,
        wrong_asset: Callable[[Path, str], str | None] = lambda path, sha: None,
    ) -> None:
        self._links = Links()
        self._wrong_asset = wrong_asset
        self._indices: dict[str, Index] = {}
        self._roots: dict[str, Root | None] = {}  # of each folder, once looked for
        self._named: Root | None = None
        if root is not None:
            self._named = self._root_above(os.path.realpath(root)) or unmarked(root)
            self._roots = {self._named.path: self._named}

    def of(self, path: Path) -> Findings:
        """Audit a file, or everything under a folder.

        Raises:
            UserError: it is missing, lies under no results root, or its root's own record is cut.
        """
        index, real = self.index_of(path), os.path.realpath(path)
        unlisted: list[Problem] = []
        asked = list(self._under(real, index, unlisted)) if os.path.isdir(real) else [real]
        found = Findings(asked, problems=unlisted)
        self._walk(found)
        self._verify(found)
        found.notes = _notes(found.records.values())
        broken = [problem for each in self._indices.values() for problem in each.problems]
        by_file = {problem.path: problem for problem in reversed([*broken, *found.problems])}
        found.problems = [by_file[path] for path in sorted(by_file)]
        return found

    def index_of(self, path: Path) -> Index:
        """Return the index of the root that a file or folder belongs to; raise as `of` does."""
        if not path.exists():
            raise UserError(f"audit: {path} is missing: make it first, or correct the path")
        spelled = os.path.abspath(path)
        places = [os.path.realpath(path), spelled]  # a link may lead out of the root
        folders = places if path.is_dir() else [os.path.dirname(place) for place in places]
        found = [root for root in map(self._root_above, folders) if root] + [self._named]
        if found[0] is None:
            raise UserError(
                f"audit: {path} lies in no results root (a folder with {STUDY} and its record, "
                "which the workflow writes): name the root as --root"
            )
        return self._index(found[0])

    def record_of(self, path: str) -> Record | None:
        """Return the record that made a file, or the record that the file is."""
        index = self._index_around(path)
        return (index.records.get(path) or index.maker.get(path)) if index else None

    def told(self, path: str) -> str:
        """Return how a person calls a resolved path."""
        names = (index.root.told(path) for index in self._indices.values())
        return next((name for name in names if name != path), path)

    def _index_around(self, path: str) -> Index | None:
        """Return the index of the root that a resolved path belongs to; None for a source."""
        root = self._root_above(os.path.dirname(path))
        if root is not None:
            return self._index(root)
        return next((each for each in self._indices.values() if path in each.outside), None)

    def _root_above(self, folder: str) -> Root | None:
        """Return the nearest results root above a folder, or that is the folder."""
        if folder not in self._roots:
            if os.path.isfile(os.path.join(folder, MARKER)):
                self._roots[folder] = marked(os.path.realpath(folder))
            else:
                above = os.path.dirname(folder)
                self._roots[folder] = self._root_above(above) if above != folder else None
        return self._roots[folder]

    def _index(self, root: Root) -> Index:
        if root.path not in self._indices:
            self._indices[root.path] = Index(root, self._links)
        return self._indices[root.path]

    def _under(self, folder: str, index: Index, unlisted: list[Problem]) -> Iterator[str]:
        """Yield what is to be walked under a folder; what has no record is a problem."""
        for place, path in index.files(folder):
            if self.record_of(path):
                yield path
            elif index.root.is_result(place) and not path.endswith(SUFFIX):
                unlisted.append(Problem(path, UNRECORDED))

    def _walk(self, found: Findings) -> None:
        """Gather the records behind what was asked for, and the sources that these began with."""
        waiting, seen = [*found.asked], set(found.asked)
        while waiting:
            path = waiting.pop()
            record = self.record_of(path)
            if record is None and self._index_around(path) is None:
                found.sources[path] = ""
            elif record is None and os.path.exists(path):
                found.problems.append(Problem(path, UNRECORDED))
            elif record is not None and record.path not in found.records:
                found.records[record.path] = record
                new = [name for name in record.inputs if name not in seen]
                seen.update(new)
                waiting += new

    def _verify(self, found: Findings) -> None:
        """Hash every file that a walked record lists, and compare."""
        said: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for record in found.records.values():
            for path, sha in [*record.outputs.items(), *record.inputs.items()]:
                said[path][sha].append(record.path)
        digests = _hashed({*said, *found.sources})
        for path, claims in said.items():
            for sha, records in claims.items():
                if digests[path] != sha:
                    found.problems.append(Problem(path, self._differs(digests[path], sha, records)))
        for record in found.records.values():
            found.artefacts |= {path: digests[path] for path in record.outputs}
        for path in found.sources:
            found.sources[path] = digests[path]
            if digests[path] and (wrong := self._wrong_asset(Path(path), digests[path])):
                found.problems.append(Problem(path, wrong))

    def _differs(self, digest: str, said: str, records: list[str]) -> str:
        more = f" (and {len(records) - 1} more)" if len(records) > 1 else ""
        who = f"{self.told(records[0])}{more}"
        if not digest:
            return f"is missing, but {who} lists it: make it again, or restore it"
        return (
            f"has sha256 {digest[:12]}, but {who} says {said[:12]}: it was changed after the "
            "fact; make it again, or restore it"
        )


def _hashed(paths: Iterable[str]) -> dict[str, str]:
    """Return the sha256 of each file, empty where it is missing; threads hash side by side."""
    listed = list(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(listed, pool.map(_digest, listed), strict=True))


def _digest(path: str) -> str:
    return sha256_of(path) if os.path.isfile(path) else ""


def _notes(records: Iterable[Record]) -> list[str]:
    """Return a line for each package that records name in several versions."""
    versions: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        for package, version in record.content["environment"].items():
            versions[package][str(version)] += 1
    return [
        f"made with {package} " + " and ".join(f"{name} ({n} records)" for name, n in found)
        for package, counts in sorted(versions.items())
        if package != "distributions" and len(found := sorted(counts.items())) > 1
    ]
