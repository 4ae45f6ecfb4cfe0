"""A trained model's folder as a generator: a denoiser with its compressor, or a GAN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wfdm.errors import UserError
from wfdm.stages.inputs import models_behind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfdm.baselines.hagan_here import TrainedHagan
    from wfdm.config.generators import SamplerSettings
    from wfdm.generators.latent_diffusion import LatentDiffusion
    from wfdm.generators.protocol import Request

GAN = "wfdm.baselines.hagan_here"


class Checkpoint(NamedTuple):
    """A trained model, ready to be asked.

    Attributes:
        generator: makes the volumes.
        requests: what it is asked for, as it takes them.
        files: what the volumes depend on.
        modules: those whose code they depend on.
    """

    generator: LatentDiffusion | TrainedHagan
    requests: list[Request]
    files: list[Path]
    modules: list[str]


def opened(folder: Path, sampling: SamplerSettings, requests: Sequence[Request]) -> Checkpoint:
    """Load what was trained into `folder`.

    Raises:
        UserError: the folder holds no such model, or it cannot be sampled or asked so.
    """
    own = [folder / "config.json", folder / "model.safetensors"]
    if _is_gan(folder):
        from wfdm.baselines.hagan_here import load as load_gan

        _refuse_what_a_gan_ignores(folder, sampling, requests)
        return Checkpoint(load_gan(folder), list(requests), own, [GAN])

    from wfdm.generators.latent_diffusion import load
    from wfdm.generators.order import with_age_group

    generator = load(folder, sampling)
    asked = map(with_age_group, requests) if generator.age_group_from_age else requests
    files = [*own, Path(generator.space.compressor) / "model.safetensors"]
    return Checkpoint(generator, list(asked), files, models_behind(folder))


def _is_gan(folder: Path) -> bool:
    """Tell a GAN's folder; what is no folder of any model is left to the denoisers' messages."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("kind") == "gan"


def _refuse_what_a_gan_ignores(
    folder: Path, sampling: SamplerSettings, requests: Sequence[Request]
) -> None:
    given, default = sampling.model_dump(), type(sampling)().model_dump()
    if changed := [name for name, value in given.items() if value != default[name]]:
        raise UserError(
            f"{folder}: a GAN makes a volume in one pass; leave out {', '.join(changed)}"
        )
    for request in requests:
        if request.metadata:
            raise UserError(
                f"{request.name}: {folder} is a GAN that is told the modality alone; leave out "
                f"{', '.join(map(str, request.metadata))}"
            )
