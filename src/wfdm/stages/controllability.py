"""What a generator's metadata control: effects, readers and their nulls, for table A2."""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Scans, Splits

Settings = reads("seed", "controllability.{generator}.fields")


def run(
    settings: Any,
    measured: Annotated[Path, "Measures of the volumes that are compared."],
    features: Annotated[list[Path], "A shard's features of them; once for each."],
    scans: Scans,
    splits: Splits,
    out: Out,
) -> None:
    """Write a row for each effect, reader and null."""
    import numpy as np
    import pandas as pd

    from wfdm.audits.controllability import effects
    from wfdm.audits.readers import of_mask, readings
    from wfdm.data.metadata import load_schema
    from wfdm.data.split_table import read_splits
    from wfdm.data.table import read_scans, with_split, write_csv
    from wfdm.evaluation.control_columns import COLUMNS
    from wfdm.evaluation.controls import of_fields, one_of_each, read_controlled
    from wfdm.evaluation.features import read_features

    with recorded("controllability", out, settings, [measured, *features, scans, splits]):
        of_volumes, measures = read_controlled(measured)
        recorded_ = read_scans(scans)
        found = read_features(features)
        seen = pd.Series([*found.values[found.intensities[0]].astype(float)], index=found.scan_ids)
        rows = []
        for field, asked in settings.fields.items():
            table = of_fields(of_volumes, recorded_, [field])
            table = table[table["field"] == field]
            rows += effects(table, measures, field, asked, settings.seed)
            looked = np.stack([*seen[table["scan_id"]]])
            rows += readings(table, looked, field, asked, settings.seed)
        everyone = with_split(recorded_.drop(columns="person"), read_splits(splits))
        everyone = everyone[everyone["split"].isin(["train", "test"])]
        people = one_of_each(everyone, len(everyone), settings.seed)
        bits = (people[list(load_schema().names)] != "").to_numpy()
        rows += of_mask(bits, list(people["dataset"]), (people["split"] == "test").to_numpy())
        write_csv(pd.DataFrame(rows, columns=[*COLUMNS]), out)
