"""What a BrainScape checkout or export holds, and which of it BrainScape itself leaves out."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property
from pathlib import Path
from typing import Any

from wfdm.errors import UserError

EXPORT_SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Entry:
    """One entry of a record file: the scans of one subject x session x type x group.

    `split` is where an export places it, "" for a checkout.
    """

    dataset: str
    content: Mapping[str, Any]
    split: str = ""

    def order(self) -> tuple[str, ...]:
        """Return what entries are sorted by, so that the file's order does not matter."""
        keys = ("subject", "session", "type", "group")
        return (
            *(str(self.content.get(key, "")) for key in keys),
            json.dumps(self.content, sort_keys=True),
        )


@dataclass(frozen=True)
class Rules:
    """A dataset's metadata.json, as far as it says what to use."""

    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def included(self) -> bool:
        """Return whether BrainScape's maintainers include the dataset."""
        return bool(self.content.get("includeDataset", True))

    @property
    def already_preprocessed(self) -> bool:
        """Return whether the downloads are on the atlas, brain only."""
        return bool(self.content.get("alreadyPreprocessed", False))

    def why_not(self, subject: str) -> str:
        """Return why a subject is left out; "" when it is not."""
        if self._excluded and self._excluded.fullmatch(subject):
            return "excluded by mapping.excludeSub of the dataset's metadata.json"
        if self._included and not self._included.fullmatch(subject):
            return "not in mapping.includeSub of the dataset's metadata.json"
        return ""

    @cached_property
    def _excluded(self) -> re.Pattern[str] | None:
        return self._patterns("excludeSub")

    @cached_property
    def _included(self) -> re.Pattern[str] | None:
        return self._patterns("includeSub")

    def _patterns(self, key: str) -> re.Pattern[str] | None:
        """Compile one list of shell patterns; they match whole subjects, as BrainScape's do."""
        patterns = (self.content.get("mapping") or {}).get(key) or []
        return re.compile("|".join(map(translate, patterns))) if patterns else None


@dataclass(frozen=True)
class Checkout:
    """Where things lie: `record` is the JSON file, `volumes` the folder of dataset folders."""

    record: Path
    volumes: Path

    def rules(self, dataset: str) -> Rules:
        """Return what the dataset's metadata.json says; an export has none."""
        path = self.rules_file(dataset)
        return Rules(_read(path)) if path.is_file() else Rules()

    def rules_file(self, dataset: str) -> Path:
        """Return where a dataset's metadata.json lies."""
        return self.volumes / dataset / "metadata.json"

    def participants(self, dataset: str) -> Path | None:
        """Return a dataset's participants.tsv, if the checkout has one."""
        for root in (self.volumes, self.volumes.parent):
            path = root / "demographics" / dataset / "participants.tsv"
            if path.is_file():
                return path
        return None

    @property
    def index_file(self) -> Path:
        """Return where the list of datasets to run lies."""
        return self.volumes.parent / "config" / "index.json"

    def why_not(self, dataset: str) -> str:
        """Return why config/index.json leaves a dataset out; its `include` wins over `exclude`."""
        index = _read(self.index_file) if self.index_file.is_file() else {}
        if "include" in index:
            return "" if dataset in index["include"] else "not included by config/index.json"
        return "excluded by config/index.json" if dataset in index.get("exclude", []) else ""

    def entries(self) -> Iterator[Entry]:
        """Yield the entries of the record, in the file's order.

        Raises UserError for a file that is neither a dataset.json nor an export.
        """
        content = _read(self.record)
        lists = content.items() if isinstance(content, dict) else []
        if not lists or not all(isinstance(entries, list) for _, entries in lists):
            raise UserError(
                f"{self.record}: neither a dataset.json ({{dataset: [entries]}}) nor an export "
                "({train, val, test}): give the file that BrainScape's tools wrote"
            )
        export = set(content) <= set(EXPORT_SPLITS)
        for name, entries in lists:
            for entry in entries:
                _check_entry(entry, f"{self.record}: {name}")
                dataset = str(entry.get("dataset", "")) if export else name
                if dataset in (".", "..") or re.search(r"[/\\\0]", dataset):
                    raise UserError(f"{self.record}: dataset '{dataset}' is a path, not a name")
                yield Entry(dataset, entry, EXPORT_SPLITS[name] if export else "")


def find(path: Path) -> Checkout:
    """Return what lies at `path`: a checkout, its BrainScape folder, or a JSON file.

    Raises UserError when there is nothing of the kind.
    """
    if record := _record(path):
        return Checkout(record, record.parent)
    raise UserError(
        f"sources: no BrainScape at {path}: expected dataset.json there or in its BrainScape "
        "folder (BrainScape's tools write it), or the JSON file of an export"
    )


def _record(path: Path) -> Path | None:
    candidates = (path, path / "dataset.json", path / "BrainScape" / "dataset.json")
    return next((record for record in candidates if record.is_file()), None)


def described(path: Path) -> list[Path]:
    """Return the files that say what a checkout holds, which the workflow watches; maybe none."""
    if not _record(path):
        return []
    here = find(path)
    watched = [here.record, here.index_file, *here.volumes.glob("*/metadata.json")]
    for root in (here.volumes, here.volumes.parent):
        watched += root.glob("demographics/*/participants.tsv")
    return sorted(file for file in watched if file.is_file())


def _check_entry(entry: Any, where: str) -> None:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: an entry is of type {type(entry).__name__}, not a mapping")
    for key in ("mris", "preprocessed", "download", "demographics"):
        if not isinstance(entry.get(key) or {}, dict):
            raise UserError(f"{where}: {entry.get('subject')}: '{key}' is not a mapping")
    for key in ("mris", "preprocessed", "download"):
        if not all(isinstance(path, str | None) for path in (entry.get(key) or {}).values()):
            raise UserError(f"{where}: {entry.get('subject')}: '{key}' holds what is no path")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from error
