"""Table 2: what the compared synthesis models are."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from wfdm.tables.published import beside, read_published

COLUMNS = (
    *("Conditioning", "Synthesis domain", "Scheduler", "Steps", "Training source"),
    "Output modalities",
)


def table2(systems: Mapping[str, Mapping[str, str]], published: Path | str) -> pd.DataFrame:
    """Put the systems of this study beside the paper's (paper, table 2).

    Args:
        systems: by the generator's key: Model, each of COLUMNS, note.
        published: the paper's table 2.
    """
    return beside(systems, read_published(published), COLUMNS, (), "")
