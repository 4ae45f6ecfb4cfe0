"""Sessions: the scans of one visit of one person, which are worked on together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wfdm.config.cohort import Modality
from wfdm.data.exclusions import session_of
from wfdm.data.paths import key_of, mask_beside
from wfdm.data.shards import in_shard
from wfdm.errors import UserError


@dataclass(frozen=True)
class Session:
    """One session of the scan table.

    Attributes:
        key: DATASET/sub-SUBJECT[_ses-SESSION][_run-N].
        dataset: its label.
        subject: label without "sub-".
        session: label without "ses-"; may be empty.
        folder: DATASET/sub-SUBJECT[/ses-SESSION]/anat, where its results go.
        prefix: of its files' names, the key without the dataset.
        scans: path of each scan.
        states: what was done to its scans before they came here, sorted; normally one.
    """

    key: str
    dataset: str
    subject: str
    session: str
    folder: str
    prefix: str
    scans: Mapping[Modality, Path]
    states: tuple[str, ...]

    def files(self) -> list[Path]:
        """Return its scans, and the masks that say what is brain in derivatives."""
        given = list(self.scans.values())
        masks = [mask for path in given if (mask := mask_beside(path))]
        return [*given, *(masks if "brain" in self.states else [])]

    def record(self, root: Path, description: str) -> Path:
        """Return the provenance record of its `description` (raw, preproc) under `root`."""
        return root / self.folder / f"{self.prefix}_desc-{description}.prov.json"


def sessions_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Session]:
    """Return the sessions that rows of the scan table are from, by key, sorted."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(session_of(row), []).append(row)
    return {key: _session(key, found[key]) for key in sorted(found)}


def _session(key: str, rows: Sequence[Mapping[str, Any]]) -> Session:
    first = rows[0]
    folder, prefix = key_of(first)
    return Session(
        key=key,
        dataset=first["dataset"],
        subject=first["subject"],
        session=first["session"],
        folder=folder,
        prefix=prefix,
        scans={row["modality"]: Path(row["path"]) for row in rows},
        states=tuple(sorted({row["state"] for row in rows})),
    )


def choose(
    sessions: Mapping[str, Session], shard: int, shards: int, only: Sequence[str] | None
) -> list[Session]:
    """Return the sessions of one shard, or those of them that `only` names.

    Raises:
        UserError: there is no such shard, or it has no session of such a name.
    """
    mine = in_shard(sessions, shard, shards)
    if unknown := sorted(set(only or []) - set(mine)):
        where = f"shard {shard} of {shards}" if shards > 1 else "the scan table"
        raise UserError(f"--session: there is no '{unknown[0]}' in {where}, or it is excluded")
    return [sessions[key] for key in mine if not only or key in only]
