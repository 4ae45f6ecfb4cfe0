"""Make the phantom sessions of one shard, several at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from wfdm.config.cohort import PhantomSource
from wfdm.data.session_shards import work_through
from wfdm.data.sessions import Session
from wfdm.phantom.work import Phantoms
from wfdm.provenance.digests import digests
from wfdm.provenance.fingerprints import fingerprint


def phantom_shard(
    sessions: Sequence[Session],
    seed: int,
    sources: Mapping[str, PhantomSource],
    assets: Mapping[str, Path],
    root: Path,
    logs: Path,
    processes: int,
) -> pd.DataFrame:
    """Make what is not made yet; return the table of `session_shards.work_through`.

    Args:
        sessions: of one shard, phantoms all.
        seed: the study's seed.
        sources: the phantom source of each dataset.
        assets: file of each template that the sources name, verified.
        root: folder of the raw scans.
        logs: folder of the sessions' logs.
        processes: sessions that are worked on side by side.

    Raises:
        UserError: a template cannot serve.
    """
    work = Phantoms(
        seed=seed,
        sources=sources,
        assets=assets,
        digests=digests(list(assets.values())),
        code=fingerprint("wfdm.phantom.work"),
        root=root,
    )
    preload = ["wfdm.phantom.work"]
    return work_through(sessions, work, processes, logs, "phantoms", preload)
