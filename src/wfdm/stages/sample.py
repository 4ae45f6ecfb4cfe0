"""Make synthetic scans on request: NIfTI with a BIDS sidecar, labelled synthetic.

It needs a denoiser's folder and the compressor that this names. Metadata that is not given counts
as not recorded. Volume number i always starts from the same noise, so two requests that differ
only in age give volumes that differ only by age. A volume that exists already, with exactly the
sidecar that it would get, is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from wfdm.errors import UserError
from wfdm.stages.arguments import Threads
from wfdm.stages.inputs import device, models_behind, pairs


def run(
    checkpoint: Annotated[Path, "Folder of a trained denoiser."],
    modality: Annotated[str, "T1w, T2w, T1Gd or FLAIR."],
    out: Annotated[Path, "Folder for the volumes."] = Path("."),
    n: Annotated[int, "How many volumes."] = 1,
    age: Annotated[float | None, "Years."] = None,
    sex: Annotated[str | None, "female, male or other."] = None,
    field: Annotated[list[str] | None, "NAME=VALUE, for any other metadata field."] = None,
    seed: Annotated[int, "Seed of the noise."] = 42,
    sampler: Annotated[str, "How noise becomes a sample."] = "euler",
    steps: Annotated[int, "Of the sampler (paper: 50)."] = 50,
    threads: Threads = 2,
) -> None:
    """Write the volumes and print their paths."""
    if n < 1 or steps < 1:
        raise UserError(f"-n is {n} and --steps is {steps}; both must be 1 or more")
    # Refused before anything heavy is imported.
    from wfdm.data.table import check_modality

    check_modality(modality)
    metadata = _metadata(age, sex, field or [])

    from wfdm.data.paths import SPACE, volume_name
    from wfdm.generators.latent_diffusion import load
    from wfdm.generators.protocol import Request
    from wfdm.generators.write import write_samples
    from wfdm.processes.samplers import SAMPLERS
    from wfdm.provenance.fingerprints import fingerprint

    if sampler not in SAMPLERS:
        raise UserError(f"no sampler '{sampler}'; there is {', '.join(SAMPLERS)}")
    device(threads)
    generator = load(checkpoint, sampler, steps)
    names = [f"sub-synthetic{number:04d}" for number in range(1, n + 1)]
    requests = {
        out / volume_name(name, modality, SPACE, "synthetic"): Request(name, modality, metadata)
        for name in names
    }
    code = fingerprint("wfdm.stages.sample", *models_behind(checkpoint))
    write_samples(generator, requests, seed, code, "sample")
    print(*requests, sep="\n")


def _metadata(age: float | None, sex: str | None, fields: list[str]) -> dict[str, str]:
    """Return {field: value} of what is asked for.

    Raises UserError for a field given twice or without a value, or that the schema does not know,
    and for a value that the field does not take.
    """
    from wfdm.data.metadata import canonical, load_schema

    own = [] if age is None else [f"age={age:g}"]
    own += [] if sex is None else [f"sex={sex}"]
    metadata = pairs([*own, *fields])
    known = {each.name: each for each in load_schema().fields}
    for name, value in metadata.items():
        if name not in known:
            raise UserError(f"no metadata field '{name}'; there is {', '.join(known)}")
        # What is asked for is of no person, so the message may tell it.
        shown = value if known[name].kind == "numeric" else f"'{value}'"
        canonical(known[name], value, f"{name} is {shown}")
    return metadata
