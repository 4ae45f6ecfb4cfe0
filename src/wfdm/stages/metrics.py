"""Gather what DVC compares: numbers of several tables as JSON, and the curves of the trainings.

The curves are the trainings' histories, copied to `curves/` beside the numbers.
"""

from typing import Annotated

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Row
from wfdm.stages.inputs import paths


def run(
    row: Row,
    out: Out,
    history: Annotated[list[str] | None, "NAME=FILE; history of a training, once for each."] = None,
) -> None:
    """Write table -> model -> metric -> value, and curves/NAME.csv for each history."""
    import json

    from wfdm.atomic import write_text
    from wfdm.tables.metrics import metrics

    rows, histories = paths(row), paths(history or [])
    curves = {out.parent / "curves" / f"{name}.csv": file for name, file in histories.items()}
    with recorded("metrics", out, None, [*rows.values(), *curves.values()]) as record:
        write_text(out, json.dumps(metrics(rows), indent=1) + "\n")
        for curve, file in curves.items():
            write_text(curve, file.read_text(encoding="utf-8"))
        record.outputs = [out, *curves]
