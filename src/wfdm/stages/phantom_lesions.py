"""Write where the phantoms' lesions are: the truth they were made by, on the study's grid.

A session's map is carried there by the transform with which its T1w was registered, so a
registration that went wrong takes the mask along. More than half of a voxel is lesion, or none.
"""

from pathlib import Path
from typing import Annotated, Any, Final

from wfdm.config.reads import reads
from wfdm.errors import UserError
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Scans, Volumes

Settings = reads("seed", "sources", "preprocess.spacing")
SCAN: Final = "T1w"  # every phantom session has one, and the others are registered to it


def run(
    settings: Any,
    scans: Scans,
    volumes: Volumes,
    asset: Annotated[list[str], "NAME=FILE; once for each template that a phantom source names."],
    out: Out,
) -> None:
    """Write DATASET/PREFIX_lesion.nii.gz beside `out`, and a table: session, path, mL."""
    import numpy as np
    import pandas as pd

    from wfdm.data.grid import sri24_grid
    from wfdm.data.paths import SPACE
    from wfdm.data.sessions import sessions_of
    from wfdm.data.table import read_table, rows_of, write_table
    from wfdm.data.volumes import write_nifti
    from wfdm.phantom.lesions import lesion_map
    from wfdm.preprocess.similarity import resample
    from wfdm.preprocess.transforms import read_transform
    from wfdm.stages.inputs import paths

    sources = {
        dataset.name: source
        for source in settings.sources
        if source.kind == "phantom"
        for dataset in source.datasets
        if dataset.lesions
    }
    assets, grid = paths(asset), sri24_grid(settings.spacing)
    with recorded("phantom-lesions", out, settings, [scans, volumes, *assets.values()]) as record:
        made = read_table(volumes).set_index("scan_id")["path"]
        rows = [row for row in rows_of(read_table(scans)) if row["dataset"] in sources]
        found = []
        for key, session in sessions_of(rows).items():
            if f"{key}_{SCAN}" not in made:
                continue  # it was excluded, or could not be preprocessed
            volume, source = Path(made[f"{key}_{SCAN}"]), sources[session.dataset]
            file = volume.with_name(f"{session.prefix}_from-{SCAN}_to-{SPACE}_mode-image_xfm.mat")
            if not file.is_file():
                raise UserError(f"{file} is missing: preprocess the session again")
            truth = lesion_map(
                source,
                settings.seed,
                session.dataset,
                session.subject,
                session.session,
                SCAN,
                assets[source.template],
                assets[source.brain],
            )
            assert truth is not None  # its dataset has lesions
            mask = resample(truth, read_transform(file), grid) > 0.5
            path = out.parent / f"{key}_lesion.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_nifti(path, mask.astype(np.uint8), grid.affine)
            record.inputs.append(file)
            found.append((key, str(path), f"{mask.sum() * settings.spacing**3 / 1000:.2f}"))
        write_table(pd.DataFrame(found, columns=["session", "path", "ml"]), out)
        record.outputs = [out, *(Path(path) for _, path, _ in found)]
