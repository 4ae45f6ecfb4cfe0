"""Features of volumes: one row per volume, from a fixed network that is named in the file."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from wfdm.atomic import atomic_path
from wfdm.config.features import FeatureNetwork
from wfdm.config.volumes import VolumeSettings
from wfdm.errors import UserError
from wfdm.evaluation.reconstruction import load_tensor
from wfdm.models import feature_network


@dataclass(frozen=True)
class Features:
    """Pooled features of n volumes, and what made them."""

    values: np.ndarray
    """float32 (n, d)"""
    scan_ids: tuple[str, ...]
    modalities: tuple[str, ...]
    extractor: str
    """name of the network"""
    digest: str
    """sha256 of its weights"""
    intensity: str
    """mapping before the network"""

    def of(self, modality: str) -> np.ndarray:
        """Return the features of one modality, float64 (m, d).

        Double precision because the kernel of MMD subtracts large squares.
        """
        return self.values[np.array(self.modalities) == modality].astype(np.float64)


def normalise(volume: torch.Tensor, intensity: str) -> torch.Tensor:
    """Map intensities before the network.

    "zscore-volume" subtracts the mean and divides by the unbiased standard deviation of the
    whole volume, background included (medmetric's advice); "none" changes nothing.
    """
    if intensity == "none":
        return volume
    deviation = volume.std()
    if not deviation > 0:
        raise UserError("features: a volume is constant, so it has no z-score; look at its file")
    return (volume - volume.mean()) / deviation


@torch.inference_mode()
def extract(
    volumes: pd.DataFrame,
    network: FeatureNetwork,
    weights: Path | None,
    intensity: str,
    settings: VolumeSettings,
    out: Path | str,
    threads: int = 1,
    device: torch.device | str = "cpu",
) -> Features:
    """Extract the features of every volume and write them to `out` (safetensors).

    Real and synthetic volumes pass the same standardisation to [0, 1] (a second pass changes
    nothing), one volume at a time, so a row depends on its volume only.

    Args:
        volumes: columns scan_id, modality, path.
        network: which network.
        weights: its verified weights file; None for the declared stand-in.
        intensity: "zscore-volume" or "none".
        settings: of the tensor that every model sees.
        out: the file.
        threads: of torch on the CPU.
        device: where the network runs.
    """
    torch.set_num_threads(threads)
    module, name, digest = feature_network.build(network, weights)
    module = module.to(device)
    rows = []
    for scan in tqdm(volumes.itertuples(), "features", len(volumes), mininterval=5):
        volume = normalise(load_tensor(scan.path, settings, device), intensity)
        rows.append(module.pooled(volume)[0].float().cpu().numpy())
    if not rows:
        raise UserError(f"{out}: there is no volume to extract features from")
    features = Features(
        values=np.stack(rows),
        scan_ids=tuple(volumes["scan_id"]),
        modalities=tuple(volumes["modality"]),
        extractor=name,
        digest=digest,
        intensity=intensity,
    )
    _write(features, out)
    return features


def _write(features: Features, out: Path | str) -> None:
    about = {
        "scan_ids": features.scan_ids,
        "modalities": features.modalities,
        "extractor": features.extractor,
        "digest": features.digest,
        "intensity": features.intensity,
    }
    with atomic_path(out) as temporary:
        # One metadata key: safetensors writes several in an order that changes from run to run.
        save_file({"features": features.values}, temporary, metadata={"about": json.dumps(about)})


def read_features(path: Path | str) -> Features:
    """Read the file that `extract` wrote."""
    with safe_open(path, framework="numpy") as file:
        about = json.loads((file.metadata() or {}).get("about", "null"))
        if about is None:
            raise UserError(f"{path}: not a features file of this pipeline; extract it again")
        return Features(
            values=file.get_tensor("features"),
            scan_ids=tuple(about["scan_ids"]),
            modalities=tuple(about["modalities"]),
            extractor=about["extractor"],
            digest=about["digest"],
            intensity=about["intensity"],
        )
