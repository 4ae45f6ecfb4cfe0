"""A volume made by WFDM and by BrainMint 0.1.0's own modules, in turn: seconds, ratio, error.

    PYTHONPATH=src python -m benchmarks.brainmint_speed --out FILE.csv [--shape 96 128 96]
        [--steps 10] [--repeats 3] [--threads 2] [--levers float32 "bf16, channels last" ...]

Both have the same random weights, noise, conditions, Euler steps and decoder, at the study's
widths; theirs works in float32 (TF32 on a GPU, torch's default for convolutions), as its samplers
do. The metadata are coded once for both. Each repeat makes one volume by each of the two, one
after the other; the ratio is the median of the repeats'. The error is the relative norm of the
volumes' difference.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from brainmint.models.compression.wavelet_fusion import WaveletFusionAutoencoder
from brainmint.models.generation.diffusion_unet import DiffusionUNet
from torch import Tensor

from benchmarks.gpu.full_size.sizes import study
from benchmarks.hardware import describe
from wfdm import models
from wfdm.accelerator import accelerator
from wfdm.atomic import write_text
from wfdm.config.generators import InferenceSettings, SamplerSettings
from wfdm.generators import latent_diffusion
from wfdm.generators.inference import Engine, rounding
from wfdm.generators.latent_diffusion import LatentDiffusion
from wfdm.generators.protocol import Request
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.unet import TIME_SCALE

FAST = {"arithmetic": "bf16", "channels_last": True}
LEVERS: dict[str, dict[str, Any]] = {
    "float32": {"arithmetic": "float32"},
    "tf32": {"arithmetic": "tf32"},
    "channels last": {"arithmetic": "float32", "channels_last": True},
    "bf16": {"arithmetic": "bf16"},
    "bf16, channels last": FAST,
    "bf16, channels last, compiled": FAST | {"compile": True},
    "bf16, channels last, compiled, graphs": FAST | {"compile": True, "graphs": True},
}
ASKED = Request("paired", "T1w", {"age": "60", "sex": "female"})
THEIR_NAMES = {"modality_embedding": "class_embedding", "metadata_projection": "dem_proj"}


class TheirDenoiser(torch.nn.Module):
    """BrainMint's U-Net with our weights, asked as ours is."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        settings, coder = ours.settings, ours.metadata_encoder
        self.coder = coder
        self.network = DiffusionUNet(
            spatial_dims=3,
            in_channels=ours.out[2].conv.out_channels,
            out_channels=ours.out[2].conv.out_channels,
            num_res_blocks=settings.res_blocks,
            num_channels=settings.channels,
            attention_levels=settings.attention,
            norm_num_groups=settings.norm_groups,
            resblock_updown=True,
            num_head_channels=settings.head_channels,
            num_class_embeds=ours.modality_embedding.num_embeddings,
            include_fc=True,
            use_flash_attention=torch.cuda.is_available(),  # it refuses a CPU
            with_demographics=True,
            dem_embed_dim=settings.metadata_width,
        )
        given = {}
        for name, weight in ours.state_dict().items():
            first, _, rest = name.partition(".")
            if first != "metadata_encoder":
                given[f"{THEIR_NAMES.get(first, first)}.{rest}"] = weight
        self.network.load_state_dict(given)

    def condition(self, t: Tensor, conditions: Conditions) -> Tensor:
        """Return time, modality and coded metadata side by side, for `answer`."""
        coded = self.coder(conditions.values, conditions.mask)
        return torch.cat([t[:, None], conditions.modality[:, None].to(t), coded], dim=1)

    @torch.no_grad()
    def answer(self, z: Tensor, told: Tensor) -> Tensor:
        """Return the answer to z (B, C, d, h, w)."""
        with rounding(True):
            return self.network(
                z,
                TIME_SCALE * told[:, 0],
                class_labels=told[:, 1].long(),
                demographics_embedding=told[:, 2:],
            )


def theirs(ours: LatentDiffusion) -> LatentDiffusion:
    """Return the same generator with BrainMint's networks in the place of ours."""
    decoder = WaveletFusionAutoencoder(
        spatial_dims=3,
        attention_levels=(False, False),
        with_encoder_nonlocal_attn=True,
        with_decoder_nonlocal_attn=True,
        use_flash_attention=True,
    )
    decoder.load_state_dict(models.export_brainmint(ours.compressor))
    decoder.to(ours.device).eval().requires_grad_(False)
    denoiser = TheirDenoiser(ours.denoiser).to(ours.device).eval().requires_grad_(False)

    @torch.no_grad()
    def decode(z: Tensor) -> Tensor:
        with rounding(True):
            return decoder.decode(z)

    return replace(ours, denoiser=denoiser, engine=Engine(denoiser.answer, decode))


def made(generator: LatentDiffusion) -> tuple[Any, float]:
    """Return a volume, and the seconds it took."""
    began = time.perf_counter()
    (sample,) = generator.sample([ASKED], 0)
    return sample.volume, time.perf_counter() - began


def paired(levers: str, shape: tuple[int, int, int], steps: int, repeats: int) -> dict[str, Any]:
    """Return a row: our levers against their modules."""
    sizes = study()
    inference = InferenceSettings.model_validate(LEVERS[levers])
    sampling = SamplerSettings(steps=steps, inference=inference)
    parts = (sizes.denoiser.network, sizes.denoiser.process, sizes.wavelet, shape)
    ours = latent_diffusion.untrained("wfdm", sampling, *parts)
    other = theirs(ours)
    wanted, _ = made(other)
    found, _ = made(ours)  # warm-ups of both, and what is compared
    difference = torch.from_numpy(found - wanted).norm() / torch.from_numpy(wanted).norm()
    times = [(made(ours)[1], made(other)[1]) for _ in range(repeats)]
    return {
        "levers": levers,
        "volume": "x".join(map(str, shape)),
        "steps": steps,
        "n": repeats,
        "WFDM s": f"{median(a for a, _ in times):.3f}",
        "BrainMint s": f"{median(b for _, b in times):.3f}",
        "times as fast": f"{median(b / a for a, b in times):.2f}",
        "error": f"{float(difference):.1e}",
    }


def main() -> None:
    """Measure, and write the table again after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", type=int, nargs=3, default=(96, 128, 96))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--levers", nargs="+", choices=[*LEVERS], default=["float32"])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    told = f"# {describe()}; {accelerator()}\n"
    rows: list[dict[str, Any]] = []
    for levers in given.levers:
        rows.append(paired(levers, tuple(given.shape), given.steps, given.repeats))
        print(rows[-1], flush=True)
        write_text(given.out, told + pd.DataFrame(rows).to_csv(index=False))


if __name__ == "__main__":
    main()
