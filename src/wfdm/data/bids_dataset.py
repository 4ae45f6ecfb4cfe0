"""What makes a folder of results a dataset of BIDS derivatives: its description, what to ignore."""

import json
from collections.abc import Iterable
from pathlib import Path

from wfdm.atomic import write_text
from wfdm.data.synthetic import KEYWORD

VERSION = "1.10.0"
"""of BIDS, whose rules the names and sidecars follow"""
# Pictures, notes and records of provenance are ours; BIDS has no rule for transforms yet.
IGNORED = ("*.prov.json", "*_qc.png", "*_failed.txt", "*_xfm.mat")


def describe(root: Path, volumes: Iterable[Path], what: str, synthetic: bool = False) -> list[Path]:
    """Write dataset_description.json and .bidsignore beside the subjects of each dataset.

    Args:
        root: folder of the datasets: ROOT/DATASET/sub-SUBJECT/...
        volumes: of any dataset; those that lie in no subject's folder below `root` have none.
        what: what its volumes are, for the description's name.
        synthetic: whether a model made them; the description says so.

    Returns:
        The files written, sorted.
    """
    inside = (path.relative_to(root).parts for path in volumes if path.is_relative_to(root))
    datasets = {parts[0] for parts in inside if len(parts) > 2 and parts[1].startswith("sub-")}
    written = []
    for dataset in sorted(datasets):
        about = {
            "Name": f"{dataset}, {what}",
            "BIDSVersion": VERSION,
            "DatasetType": "derivative",
            **({"Keywords": [KEYWORD]} if synthetic else {}),
            "GeneratedBy": [{"Name": "wfdm", "Description": "config and code: see *.prov.json"}],
        }
        texts = {
            ".bidsignore": "".join(f"{pattern}\n" for pattern in IGNORED),
            "dataset_description.json": json.dumps(about, indent=2) + "\n",
        }
        for name, text in texts.items():
            write_text(root / dataset / name, text)
            written.append(root / dataset / name)
    return written
