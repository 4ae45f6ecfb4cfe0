"""A fixed 3D network whose features compare volumes: medmetric's MedicalNet ResNet.

Its weights are an asset, or, declared by name and digest, a random stand-in drawn from a seed.
"""

import hashlib
from pathlib import Path

import torch
from medmetric.extractors import MedicalNetFeatureExtractor
from medmetric.hub.medicalnet import get_medicalnet_entry
from medmetric.models.resnet import MedicalNetResNet
from torch import Tensor, nn

from wfdm.config.features import FeatureSettings
from wfdm.errors import UserError


class MedicalNet(nn.Module):
    """MedicalNet's ResNet, in eval mode and frozen; gradients flow to its input."""

    def __init__(self, backbone: MedicalNetResNet) -> None:
        super().__init__()
        self.backbone: MedicalNetResNet = backbone.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "MedicalNet":
        """Stay in eval mode: the batch normalisations' statistics are part of the weights."""
        return super().train(False)

    def maps(self, x: Tensor, stages: int = 4) -> list[Tensor]:
        """Return the maps of the first stages for volumes (B, 1, D, H, W): at 1/4, then 1/8."""
        net = self.backbone
        h = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        maps = []
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4)[:stages]:
            h = stage(h)
            maps.append(h)
        return maps

    def pooled(self, x: Tensor) -> Tensor:
        """Return the mean of the last map, (B, 512), from depth 50 on (B, 2048)."""
        return self.maps(x)[-1].mean(dim=(2, 3, 4))


def build(settings: FeatureSettings, weights: Path | None) -> tuple[MedicalNet, str, str]:
    """Return the network, its name, and the SHA-256 over its weights.

    Args:
        settings: depth, and whether the weights are an asset or a stand-in's seed.
        weights: the asset's file (checked by the caller); None for the stand-in.

    Raises:
        UserError: weights are given but not named in the settings or the reverse, or the file
            does not hold a MedicalNet ResNet of that depth.
    """
    if (settings.weights is None) != (weights is None):
        raise UserError(
            f"feature network: settings name the weights {settings.weights}, but got {weights}"
        )
    if weights is None:
        extractor = _random(settings.depth, settings.seed)
        name = f"medicalnet-resnet{settings.depth}-random-seed{settings.seed}"
    else:
        extractor = _pretrained(settings.depth, weights)
        name = str(settings.weights)
    network = MedicalNet(extractor.model)
    return network, name, digest(network.backbone)


def digest(module: nn.Module) -> str:
    """Return the SHA-256 over names, shapes and bytes of the module's state, in name order."""
    sha = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def _random(depth: int, seed: int) -> MedicalNetFeatureExtractor:
    entry = get_medicalnet_entry(depth=depth, use_23dataset=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MedicalNetFeatureExtractor(
            depth=depth,
            pooled=False,
            layers=entry.layers,
            block=entry.block,
            shortcut_type=entry.shortcut_type,
        )


def _pretrained(depth: int, weights: Path) -> MedicalNetFeatureExtractor:
    try:
        return MedicalNetFeatureExtractor.from_pretrained(
            depth=depth, pooled=False, weights_path=str(weights)
        )
    except (OSError, RuntimeError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"{weights} does not hold a MedicalNet ResNet-{depth} ({reason})") from None
