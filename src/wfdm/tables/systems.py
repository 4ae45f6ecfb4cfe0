"""What a generator is, in the words of the paper's tables 2 and 5."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from wfdm.config.baselines import PublishedSystem
from wfdm.config.denoisers import DenoiserSettings
from wfdm.config.distilled import denoiser_of
from wfdm.config.generators import DiffusionSettings, GeneratorSettings, TrainedGanSettings
from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.tables.table5 import Scheduler

SOURCES = {"brainscape": "BrainScape", "bids": "BIDS", "phantom": "phantoms"}
PROCESSES = {"rflow": "RFlow", "ddpm": "DDPM"}
OWN = {"rflow": "euler", "ddpm": "ancestral"}
"""the sampler that a process's name alone stands for"""


def described(
    settings: Any, row: GeneratorSettings, made_of: Path, compressor: str, domain: str = ""
) -> dict[str, str]:
    """Return the cells of table 2 of one generator.

    Args:
        settings: `sources`, `denoisers` and `distilled` of the study.
        row: the generator.
        made_of: config.json of its denoiser or GAN, its table of volumes, or its published weights.
        compressor: what the compressor is called whose latents it models.
        domain: what it works in, where these are no latents.

    Raises:
        UserError: `made_of` names no modalities.
    """
    if isinstance(row, PublishedSystem):
        steps = {"Steps": str(row.steps)} if hasattr(row, "steps") else {}
        return row.table2 | steps | {"Output modalities": ", ".join(row.modalities)}
    modalities = {"Output modalities": ", ".join(_modalities(made_of))}
    sources = dict.fromkeys(SOURCES[source.kind] for source in settings.sources)
    if isinstance(row, TrainedGanSettings):
        return modalities | row.table2 | {"Training source": ", ".join(sources)}
    if not isinstance(row, DiffusionSettings):
        return modalities | {"note": f"finished volumes of {made_of}: nothing else is known"}
    denoiser = denoiser_of(settings, row.denoiser)
    return modalities | {
        "Conditioning": denoiser.network.conditioning,
        "Synthesis domain": domain or f"Latent ({compressor})",
        "Scheduler": _scheduler(denoiser, row),
        "Steps": str(row.steps),
        "Training source": ", ".join(sources),
    }


def scheduler(denoiser: DenoiserSettings, row: DiffusionSettings) -> Scheduler:
    """Return the row of table 5 of one generator."""
    return Scheduler(
        name=_process(denoiser, row),
        prediction=getattr(denoiser.process, "prediction", "v"),  # RFlow's velocity
        loss=denoiser.training.loss,
        steps=row.steps,
    )


def _scheduler(denoiser: DenoiserSettings, row: DiffusionSettings) -> str:
    """Return the scheduler as table 2 calls it: "RFlow", "DDPM", "DDIM"."""
    kind: str = denoiser.process.kind
    if row.sampler == OWN[kind]:
        return PROCESSES[kind]
    return f"{PROCESSES[kind]} ({row.sampler})" if kind == "rflow" else str(row.sampler).upper()


def _process(denoiser: DenoiserSettings, row: DiffusionSettings) -> str:
    """Return the scheduler as table 5 calls it: "RFlow", "DDPM (cosine β schedule)"."""
    schedule = getattr(denoiser.process, "schedule", None)
    name = _scheduler(denoiser, row)
    return f"{name} ({schedule} β schedule)" if schedule else name


def _modalities(path: Path) -> list[str]:
    """Return the modalities that a config.json or a table of volumes names, in their order."""
    try:
        if path.suffix == ".json":
            named = json.loads(path.read_text(encoding="utf-8"))["modalities"]
        else:
            named = pd.read_csv(path, sep="\t", dtype=str)["modality"]
        found = set(named)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: does not say which modalities are made: {error}") from None
    return [modality for modality in MODALITIES if modality in found]
