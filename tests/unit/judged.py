"""Published tables, and metrics of generators as the evaluation writes them."""

from pathlib import Path

import pandas as pd

from wfdm.data.table import write_csv
from wfdm.evaluation.synthesis import COLUMNS as SYNTHESIS_COLUMNS

PUBLISHED = Path(__file__).parents[2] / "config" / "published"


def file(number):
    return PUBLISHED / f"table{number}.csv"


def synthesis_csv(path, **of_rows):
    """Metrics of a generator, as the evaluation writes them: given cells by row, others empty."""
    common = {"extractor": "ResNet-10 stand-in", "extractor_sha256": "ab12", "seed": 42}
    rows = [
        dict.fromkeys(SYNTHESIS_COLUMNS) | {"modality": name.replace("_", " ")} | common | cells
        for name, cells in of_rows.items()
    ]
    write_csv(pd.DataFrame(rows, columns=list(SYNTHESIS_COLUMNS)), path)
    return path


def counted(real, made, pairs):
    return {"n_real": real, "n_synthetic": made, "pairs": pairs}


def wfdm_csv(folder):
    """Metrics of WFDM: of one modality, of one without samples, and of all."""
    return synthesis_csv(
        folder / "wfdm.csv",
        T1w={"FID": 0.5, "FID low": 0.25, "FID high": 0.75, **counted(3, 3, 3)},
        FLAIR=counted(1, 0, 0),
        Overall={
            "FID": 0.0000123456789,
            "MS-SSIM": 0.75,
            "recognised": 1.0,
            "FID zscore-dataset": 0.125,
            "note": "FID and MMD without FLAIR",
            **counted(4, 3, 3),
        },
        All_together={"FID": 0.375, "KID": -0.001, "n_real": 4, "n_synthetic": 3},
    )
