"""The latents that a denoiser and a sampler make for some test scans' modality and metadata.

A denoiser and its students start from the same noise, so that table A4 can tell how far apart they
end.
"""

from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Denoiser, Out, Scans, Splits, Threads, Volumes
from wfdm.stages.inputs import device, files_of, models_behind

Settings = reads("seed", "few_steps.scans", "few_steps.reference", "made=generators.{generator}?")


def run(
    settings: Any,
    denoiser: Denoiser,
    scans: Scans,
    splits: Splits,
    volumes: Volumes,
    out: Out,
    draws: Annotated[int, "Noises for each scan: its sample's own, then others."] = 1,
    threads: Threads = 1,
) -> None:
    """Write scan_id to scaled latents (draws, C, d, h, w), as safetensors."""
    from safetensors.torch import save_file

    from wfdm.atomic import atomic_path
    from wfdm.data.split_table import encoded_scans
    from wfdm.generators.latent_diffusion import load
    from wfdm.generators.pairs import endpoints, requests_of
    from wfdm.seeds import generator_for
    from wfdm.stages.selection import test_scans

    inputs = [*files_of(denoiser), scans, splits, volumes]
    with recorded("endpoints", out, settings, inputs, models_behind(denoiser.parent)):
        device(threads)
        generator = load(denoiser.parent, settings.made or settings.reference.exact)
        known = test_scans(encoded_scans(scans, splits, volumes), splits).sort_values("scan_id")
        known = known[known["modality"].isin(generator.modalities)]
        order = generator_for(settings.seed, "few steps").permutation(len(known))
        chosen = known.iloc[order[: settings.scans]].rename(columns={"scan_id": "name"})
        found = endpoints(generator, requests_of(chosen), settings.seed, draws)
        with atomic_path(out) as temporary:
            save_file({name: latent.contiguous() for name, latent in found.items()}, temporary)
