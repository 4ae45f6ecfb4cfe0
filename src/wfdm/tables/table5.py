"""Tables 5 and 16 to 19: one model family under several schedulers, pooled and by modality."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wfdm.errors import UserError
from wfdm.tables.published import beside, read_published
from wfdm.tables.synthesis import METRICS, OWN, OWN_POOLED, cells, with_none

BY_MODALITY = {"T1w": 16, "T1Gd": 17, "T2w": 18, "FLAIR": 19}
"""tables of appendix D"""
NAME = "Scheduler / Sampler"
DESCRIBED = ("Pred. type", "Loss", "Inference steps")
POOLED = "Overall "
"""begins the name of a metric's column in table 5"""


@dataclass(frozen=True)
class Scheduler:
    """One row of the study of schedulers; of a reference only its name.

    Attributes:
        name: what it is called, where the paper does not have it.
        prediction: what the network predicts, "v" or "epsilon".
        loss: "l1" or "l2".
        steps: of the sampler.
    """

    name: str
    prediction: str = ""
    loss: str = ""
    steps: int | None = None


def table5(
    schedulers: Mapping[str, Scheduler],
    metrics: Mapping[str, Path | str],
    published: Path | str,
    note: str = "",
    modality: str | None = None,
) -> pd.DataFrame:
    """Compare schedulers, pooled as the paper pools them or of a modality (paper, 5 and 16 to 19).

    Args:
        schedulers: by the row's key; references last.
        metrics: CSV of `synthesis_metrics` of the row's generator, by the row's key.
        published: the paper's table 5, or that of the modality.
        note: how this study differs (`differences`).
        modality: only its scans, beside its table of appendix D; by default all.

    Raises:
        UserError: an unknown modality; a file cannot be read, or has no row for all modalities.
    """
    if modality and modality not in BY_MODALITY:
        raise UserError(f"unknown modality '{modality}': use {', '.join(BY_MODALITY)}")
    prefix, own = ("", OWN) if modality else (POOLED, OWN_POOLED)
    paper, ours = read_published(published), {}
    for key, path in metrics.items():
        if row := cells(path, modality):
            row |= {prefix + metric: row[metric] for metric in METRICS}
            row |= _described(schedulers[key])
        ours[key] = row
    pairs = (*DESCRIBED, *(prefix + metric for metric in METRICS))
    return beside(with_none(ours, paper), paper, pairs, own, note, NAME)


def _described(row: Scheduler) -> dict[str, str]:
    texts = (row.name, row.prediction, row.loss, str(row.steps or ""))
    return dict(zip((NAME, *DESCRIBED), texts, strict=True))
