"""A plain image-to-image U-Net: the latents of a session's scans in, the missing one out."""

import json
from pathlib import Path

import torch
from monai.networks.nets.segresnet import SegResNet
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.nn.functional import one_hot

from wfdm.config.completions import PlainUNetSettings
from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.models.denoisers.sources import Sources
from wfdm.models.weights import load_weights


class PlainUNet(nn.Module):
    """Answer with the latent of the modality that is wanted; no noise, no time, no metadata.

    The network is MONAI's SegResNet (Myronenko 2018, arXiv 1810.11654, without its autoencoder).
    It sees the latents that are there, and planes of ones that say which are, and what is wanted.

    Args:
        settings: widths and blocks.
        latent_channels: C.
    """

    def __init__(self, settings: PlainUNetSettings, latent_channels: int) -> None:
        super().__init__()
        self.network = SegResNet(
            spatial_dims=3,
            init_filters=settings.channels,
            in_channels=len(MODALITIES) * (latent_channels + 2),
            out_channels=latent_channels,
            norm=("GROUP", {"num_groups": settings.norm_groups}),
            blocks_down=settings.down,
            blocks_up=settings.up,
        )

    def forward(self, sources: Sources, modality: Tensor) -> Tensor:
        """Return the answer (B, C, d, h, w), in the sources' units.

        Args:
            sources: of each item; each side divides by 2 ** (levels - 1).
            modality: (B,) long, index into MODALITIES of what is wanted.
        """
        given = sources.control(1)
        wanted = one_hot(modality, len(MODALITIES)).to(given.dtype)[:, :, None, None, None]
        planes = wanted.expand(-1, -1, *given.shape[2:])
        answer: Tensor = self.network(torch.cat([given, planes], dim=1))
        return answer


def config_text(name: str, settings: PlainUNetSettings, latent_channels: int) -> str:
    """Return the text of config.json beside its weights."""
    content = {
        "kind": "completion U-Net",
        "completion": name,
        "latent_channels": latent_channels,
        "network": settings.model_dump(mode="json"),
    }
    return json.dumps(content, indent=1) + "\n"


def load(folder: Path) -> PlainUNet:
    """Load a trained one (EMA weights) in eval mode, frozen.

    Raises:
        UserError: the folder holds none, or its weights are missing or damaged.
    """
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        settings = TypeAdapter(PlainUNetSettings).validate_python(content["network"])
        model = PlainUNet(settings, int(content["latent_channels"]))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; train the U-Net, or name another folder") from None
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not describe a completion's U-Net: {reason}") from None
    load_weights(model, folder / "model.safetensors")
    return model.eval().requires_grad_(False)
