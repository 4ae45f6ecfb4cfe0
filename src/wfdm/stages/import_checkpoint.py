"""Make a compressor of the authors' weights: sizes and rounding are found from them.

The file holds a WaveletFusionAutoencoder of BrainMint (WF-VAE or WF-SA-VAE); the folder that is
made is like one that was trained here.
"""

from pathlib import Path
from typing import Annotated

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Positional


def run(
    file: Annotated[Path, Positional("Weights of BrainMint's WaveletFusionAutoencoder.")],
    out: Annotated[Path, "Folder of the compressor to make."],
    norm_groups: Annotated[int, "Groups of its normalisations; weights do not show them."] = 32,
) -> None:
    """Write model.safetensors and config.json."""
    from wfdm.models.compressors.brainmint import import_brainmint
    from wfdm.models.compressors.registry import save

    model = out / "model.safetensors"
    with recorded("import-checkpoint", model, None, [file]) as record:
        save(out, import_brainmint(file, norm_groups))
        record.outputs = [model, out / "config.json"]
