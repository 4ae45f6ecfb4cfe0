"""One shard's sessions, worked through: what is still true is kept, the rest is done."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import pandas as pd

from wfdm.atomic import alone
from wfdm.data.pool import side_by_side
from wfdm.data.sessions import Session
from wfdm.data.table import read_table, rows_of
from wfdm.errors import UserError, one_line
from wfdm.log import log
from wfdm.provenance.digests import sha256_of
from wfdm.provenance.records import read

FINISHED, FAILED = "ok", "failed"


class Work(Protocol):
    """What is done with a session; it is sent to other processes."""

    def record(self, session: Session) -> Path:
        """Return where the session's provenance record lies."""

    def is_done(self, session: Session) -> bool:
        """Return whether its record is still true of what is there."""

    def __call__(self, session: Session) -> None:
        """Do the work and write the record; what concerns this session alone is recorded too."""


def work_through(
    sessions: Sequence[Session],
    work: Work,
    processes: int,
    logs: Path,
    what: str,
    preload: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return a table of the sessions: session, status (ok or failed), record, sha256 (of it).

    Args:
        sessions: of one shard.
        work: what to do with each.
        processes: sessions that are worked on side by side; no result depends on it.
        logs: folder of the sessions' logs, laid out as their results are.
        what: name of the work, for a person.
        preload: modules that the work needs.
        environment: that it needs besides.
    """
    # Hashing leaves Python's lock alone, so threads will do.
    with ThreadPoolExecutor(processes) as pool:
        done = list(pool.map(work.is_done, sessions))
    left = {s.key: s for s, true in zip(sessions, done, strict=True) if not true}
    if len(left) < len(sessions):
        log.info(
            f"{what}: {len(sessions) - len(left)} of {len(sessions)} sessions are as they were"
        )
    paths = {s.key: logs / s.folder / f"{s.prefix}.log" for s in sessions}
    for key, _ in side_by_side(
        partial(_unshared, work), left, processes, paths.__getitem__, what, preload, environment
    ):
        results = read(work.record(left[key]))["results"]
        if told := results.get("failed"):
            log.warning(f"wfdm: {key} failed: {one_line(told)}")
        for scan, told in results.get("left_out", {}).items():
            log.warning(f"wfdm: {key}_{scan} left out: {one_line(told)}")
    rows = [_row(session, work.record(session)) for session in sessions]
    table = pd.DataFrame(rows, columns=["session", "status", "record", "sha256"])
    failed = int((table["status"] == FAILED).sum())
    log.info(f"{what}: {len(table)} sessions, {failed} failed, {len(left)} done in this run")
    return table


def _unshared(work: Work, session: Session) -> None:
    """Work on a session that no other job is working on: a person may have it in hand."""
    with alone(work.record(session)):
        work(session)


def _row(session: Session, record: Path) -> tuple[str, str, str, str]:
    status = FAILED if "failed" in read(record)["results"] else FINISHED
    return session.key, status, str(record), sha256_of(record)


def records(tables: Sequence[Path]) -> dict[str, Path]:
    """Return the record of every session that the tables of `work_through` list, by key.

    Raises:
        UserError: a session stands twice, or a record is not the one that was listed.
    """
    found: dict[str, Path] = {}
    for table in tables:
        for row in rows_of(read_table(table)):
            path = Path(row["record"])
            if row["session"] in found:
                raise UserError(f"{table}: {row['session']} stands in another shard too")
            if not path.is_file() or sha256_of(path) != row["sha256"]:
                raise UserError(f"{table}: {path} is missing or was changed: make {table} again")
            found[row["session"]] = path
    return found
