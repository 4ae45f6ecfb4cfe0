"""Preprocess the sessions of one shard, several at a time."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from wfdm.config.preprocess import PreprocessSettings
from wfdm.data.session_shards import work_through
from wfdm.data.sessions import Session
from wfdm.preprocess.work import Preprocessing, needs_weights
from wfdm.provenance.digests import digests
from wfdm.provenance.fingerprints import fingerprint

# ANTs gives the same bytes on one thread alone. HD-BET's activations are large and short-lived:
# glibc keeps their pages, a quarter quicker.
ENVIRONMENT = {
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
}


def preprocess_shard(
    sessions: Sequence[Session],
    seed: int,
    settings: PreprocessSettings,
    atlas: Path,
    atlas_head: Path,
    weights: Sequence[Path],
    root: Path,
    logs: Path,
    processes: int,
) -> pd.DataFrame:
    """Preprocess what is not done yet; return the table of `session_shards.work_through`.

    Args:
        sessions: of one shard.
        seed: the study's seed.
        settings: the study's `preprocess` section.
        atlas: the skull-stripped SRI-24 T1w, verified.
        atlas_head: the whole SRI-24 head, verified.
        weights: of the brain extraction, verified; none where no session is raw.
        root: folder of the results.
        logs: folder of the sessions' logs.
        processes: sessions that are worked on side by side.

    Raises:
        UserError: the study cannot work at all; what concerns one session alone is recorded.
    """
    work = Preprocessing(
        seed=seed,
        settings=settings,
        atlas=atlas,
        atlas_head=atlas_head,
        weights=tuple(weights),
        digests=digests([atlas, atlas_head, *weights]),
        code=fingerprint("wfdm.preprocess.work"),
        root=root,
        threads=max(1, processes // max(1, len(sessions))),  # of one session, all cores
    )
    preload = ["wfdm.preprocess.imports"]
    if any(needs_weights(session) for session in sessions):
        preload += ["torch", *(["deepbet"] if settings.extractor == "deepbet" else [])]
    return work_through(sessions, work, processes, logs, "preprocess", preload, ENVIRONMENT)
