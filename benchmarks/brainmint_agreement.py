"""Agreement with BrainMint 0.1.0 at the study's model sizes: both variants, both directions.

    python benchmarks/brainmint_agreement.py [--shape 96 112 80] [--threads 1]

Random weights go from BrainMint's WaveletFusionAutoencoder into ours, and from ours into theirs;
encode (mean, standard deviation) and decode are compared as |ours - theirs| / |theirs|.
"""

import argparse
import gc

import torch
from brainmint.models.compression.wavelet_fusion import WaveletFusionAutoencoder
from hardware import describe

from wfdm import models
from wfdm.config.compressors import WaveletFusion


def theirs(attention: bool) -> WaveletFusionAutoencoder:
    return WaveletFusionAutoencoder(
        spatial_dims=3,
        attention_levels=(False, False),
        with_encoder_nonlocal_attn=attention,
        with_decoder_nonlocal_attn=attention,
        use_flash_attention=True,
    ).eval()


def randomise(module: torch.nn.Module) -> None:
    """Give every weight a value that matters, without letting the signal die or explode."""
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if "norm" in name and name.endswith("weight"):
            torch.nn.init.normal_(parameter, 1.0, 0.2)
        elif parameter.ndim > 1:
            torch.nn.init.kaiming_uniform_(parameter)


@torch.inference_mode()
def compare(ours: models.Compressor, oracle: WaveletFusionAutoencoder, x: torch.Tensor) -> str:
    mean, std = oracle.encode(x)
    mine = ours.encode(x)
    found = {"mean": (mine[0], mean), "std": (mine[1], std)}
    found["decoded"] = (ours.decode(mean), oracle.decode(mean))
    told = []
    for name, (a, b) in found.items():
        relative = float((a - b).norm() / b.norm())
        assert relative < 1e-4, (name, relative)
        told.append(f"{name} {relative:.1e}")
    return ", ".join(told)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shape", type=int, nargs=3, default=(96, 112, 80))
    arguments.add_argument("--threads", type=int, default=1)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    x = torch.rand((1, 1, *given.shape), generator=torch.Generator().manual_seed(0))
    print(f"{describe()}; volume {'x'.join(map(str, given.shape))}")
    for attention in (False, True):
        name = "WF-SA-VAE" if attention else "WF-VAE"
        torch.manual_seed(1)
        oracle = theirs(attention)
        randomise(oracle)
        ours = models.import_brainmint(oracle.state_dict())
        print(f"{name}, theirs into ours: {compare(ours, oracle, x)}", flush=True)
        ours = models.build(WaveletFusion(kind="wavelet-fusion", attention=attention)).eval()
        randomise(ours)
        oracle.load_state_dict(models.export_brainmint(ours))
        print(f"{name}, ours into theirs: {compare(ours, oracle, x)}", flush=True)
        del oracle, ours
        gc.collect()


if __name__ == "__main__":
    main()
