"""Measure the volumes that tell what metadata control: structures in mL."""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Threads
from wfdm.stages.inputs import device, verified

Settings = reads("volume", "preprocess.spacing", "asked=controllability.{generator}")


def run(
    settings: Any,
    volumes: Annotated[Path, "Table of the volumes that are compared."],
    out: Out,
    threads: Threads = 1,
    asset: Annotated[list[Path] | None, "Topology of MeshNet, then its weights."] = None,
) -> None:
    """Write a row of mL for each volume."""
    import pandas as pd

    from wfdm.data.shards import each_once
    from wfdm.data.table import read_table, rows_of, write_csv
    from wfdm.data.volumes import load_scan
    from wfdm.evaluation.anatomy import measure_of

    files = verified(settings.asked.assets, asset)
    with recorded("measured", out, settings, [volumes, *files]) as record:
        measure = measure_of(settings.asked.measure, settings.spacing, files, device(threads))
        scans = {row["path"]: row for row in rows_of(read_table(volumes))}

        def row(path: str) -> dict[str, float]:
            return measure(load_scan(scans[path], settings.volume)[0])

        done = each_once(scans, row, out, record.identity, "volumes to measure")
        keys = ("scan_id", "kind", "field", "value", "draw", "path")
        rows = [{key: scans[path][key] for key in keys} | found for path, found in done]
        write_csv(pd.DataFrame(rows), out)
