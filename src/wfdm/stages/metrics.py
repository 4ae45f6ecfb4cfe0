"""Gather this study's numbers of several tables as JSON, for `dvc metrics`."""

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Row
from wfdm.stages.inputs import paths


def run(row: Row, out: Out) -> None:
    """Write table -> model -> metric -> value."""
    import json

    from wfdm.atomic import write_text
    from wfdm.tables.metrics import metrics

    rows = paths(row)
    with recorded("metrics", out, None, rows.values()):
        write_text(out, json.dumps(metrics(rows), indent=1) + "\n")
