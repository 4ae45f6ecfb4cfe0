"""The loss of a trained denoiser on single scans, at times and noises that all scans share."""

from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from wfdm.audits.membership import FLOOR, LOSS, SCORED
from wfdm.data.shards import each_once
from wfdm.latents.cache import Latents
from wfdm.latents.standard import Standard
from wfdm.models.denoisers import folder
from wfdm.seeds import generator_for, seed_for, torch_generator
from wfdm.training.conditioned import Conditioned
from wfdm.training.noising import Answer, Noising


def drawn(scans: pd.DataFrame, most: int, seed: int, name: str) -> pd.DataFrame:
    """Return at most so many scans, drawn by the seed, in the order of scan_id."""
    ordered = scans.sort_values("scan_id", ignore_index=True)
    places = generator_for(seed, "membership", name).permutation(len(ordered))[:most]
    return ordered.iloc[np.sort(places)]


def losses(
    denoiser: Path,
    latents: Path,
    scans: pd.DataFrame,
    times: int,
    seed: int,
    out: Path,
    identity: str,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Return each scan's mean squared error of the denoiser's answer (2.5.4, l2).

    The times are those that evenly spread numbers lead to. Each goes with one noise, the same for
    all scans: of two scans, only what they are differs.

    Args:
        denoiser: folder of the trained denoiser.
        latents: folder of the latent cache that it was trained on.
        scans: scan_id, person, modality, split and the 25 metadata fields.
        times: how many.
        seed: the study's.
        out: where the table will go; what a killed run measured is kept beside it.
        identity: of settings, inputs and code.
        device: where the denoiser works.

    Returns:
        SCORED.
    """
    model, config = folder.load(denoiser)
    model = model.to(device)
    standard, cache = Standard.read(denoiser).to(device), Latents(latents)
    conditioned = Conditioned.of(cache, scans, config["statistics"])
    noising = Noising(config["process"], cache.space.shape, "l2")
    seeds = [seed_for(seed, "membership", "noise", time) for time in range(times)]
    shape = cache.space.shape
    noises = [torch.randn(shape, generator=torch_generator(each)).to(device) for each in seeds]
    places = {scan_id: place for place, scan_id in enumerate(conditioned.scan_ids)}

    @torch.inference_mode()
    def both(scan_id: str) -> list[float]:
        place = places[scan_id]
        told = conditioned.conditions[[place]].to(device)
        z = conditioned.item(place)["z"][None].to(device)
        x0 = standard.seen(z, told.modality)
        answers: list[Answer] = [partial(model, conditions=told), _nothing]
        return [
            fmean(
                float(noising.loss(answer, x0, x0.new_tensor([(time + 0.5) / times]), noise[None]))
                for time, noise in enumerate(noises)
            )
            for answer in answers
        ]

    done = dict(each_once(places, both, out, identity, "losses"))
    found = np.array([done[scan_id] for scan_id in scans["scan_id"]]).reshape(-1, 2)
    return scans.assign(**{LOSS: found[:, 0], FLOOR: found[:, 1]})[[*SCORED]]


def _nothing(noisy: Tensor, t: Tensor) -> Tensor:
    """Answer as a network that knows nothing."""
    return torch.zeros_like(noisy)
