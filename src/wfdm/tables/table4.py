"""Tables 4 and 12 to 15: realism and diversity by generator, pooled and by modality."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from wfdm.errors import UserError
from wfdm.tables.published import beside, read_published
from wfdm.tables.synthesis import METRICS, OWN, OWN_POOLED, cells, with_none
from wfdm.tables.text import join

BY_MODALITY = {"T1w": 12, "T2w": 13, "T1Gd": 14, "FLAIR": 15}
"""tables of appendix B"""


def table4(
    generators: Mapping[str, Path | str],
    published: Path | str,
    note: str = "",
    modality: str | None = None,
    labels: Mapping[str, str] | None = None,
    memorised: Mapping[str, str] = MappingProxyType({}),
) -> pd.DataFrame:
    """Synthesis metrics, pooled as the paper pools them or of a modality (paper, 4 and 12 to 15).

    Args:
        generators: CSV of `synthesis_metrics` by the generator's key; references last.
        published: the paper's table 4, or that of the modality.
        note: how this study differs (`differences`).
        modality: only its scans, beside its table of appendix B; those that made none are left
            out. By default all, beside table 4.
        labels: what a generator is called in the table, by its key; by default its key.
        memorised: a line on a generator's nearest training scans, by its key.

    Raises:
        UserError: an unknown modality; a file cannot be read, or has no row for all modalities.
    """
    if modality and modality not in BY_MODALITY:
        raise UserError(f"unknown modality '{modality}': use {', '.join(BY_MODALITY)}")
    paper, called = read_published(published), dict(labels or {})
    found = {key: cells(path, modality) for key, path in generators.items()}
    ours = {
        key: {
            "Model": called.get(key, key),
            **row,
            "note": join(memorised.get(key, ""), row.get("note", "")),
        }
        if row
        else row
        for key, row in found.items()
    }
    pairs = METRICS if modality else ("Output modalities", *METRICS)
    own = OWN if modality else OWN_POOLED
    return beside(with_none(ours, paper), paper, pairs, own, note)
