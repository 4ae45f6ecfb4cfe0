"""Volumes of structures in a brain, in mL: by thresholds, or by MeshNet.

One protocol, two ways: each takes a volume in [0, 1] as models see it and returns the same first
measures, so that a table of one way reads as one of the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from wfdm.models.features.meshnet import MeshNet, load

Measure = Callable[[np.ndarray], dict[str, float]]
"""from a volume (R, A, S) in [0, 1] to mL by the structure's name"""

DARK, BRIGHT, DEEP_MM = 0.35, 0.1, 25.0
"""of thresholds on T1w: fluid is below DARK, brain above BRIGHT, its ventricles DEEP_MM inside"""

MARGIN_MM = 8
"""of background around the brain that MeshNet is given"""
CLASSES = {
    "ventricles": (3, 4, 11),  # lateral, inferior lateral, third
    "white matter": (1, 5),
    "cortex": (2, 6),
    "hippocampi": (14,),
    "brain": tuple(range(1, 18)),
}
"""MeshNet's classes (its authors' order, 0 is background) of each structure"""


def thresholds(volume: np.ndarray, spacing: float) -> dict[str, float]:
    """Return ventricles, tissue and brain of a T1w.

    The brain is the largest part above BRIGHT with its holes filled; ventricles are what is dark
    and deep in it, tissue is what is not dark.

    Args:
        volume: (R, A, S) in [0, 1].
        spacing: of its voxels in mm.
    """
    parts, count = ndimage.label(volume > BRIGHT)
    if not count:
        return dict.fromkeys(("ventricles", "tissue", "brain"), 0.0)
    sizes = np.bincount(parts.ravel())[1:]
    brain = ndimage.binary_fill_holes(parts == 1 + int(np.argmax(sizes)))
    depth = ndimage.distance_transform_edt(brain, sampling=spacing)
    masks = {
        "ventricles": (depth > DEEP_MM) & (volume < DARK),
        "tissue": brain & (volume >= DARK),
        "brain": brain,
    }
    return {name: float(mask.sum() * spacing**3 / 1000) for name, mask in masks.items()}


@dataclass(frozen=True)
class Segmented:
    """MeshNet's classes, counted.

    Attributes:
        network: MeshNet of 18 classes, on `device`.
        spacing: of the volumes' voxels in mm.
        device: where it computes.
    """

    network: MeshNet
    spacing: float
    device: torch.device | str = "cpu"

    def __call__(self, volume: np.ndarray) -> dict[str, float]:
        """Return the mL of each of CLASSES in a volume (R, A, S) in [0, 1]."""
        labels = self.labels(volume)
        counts = np.bincount(labels.ravel(), minlength=18) / 1000
        return {name: float(counts[list(of)].sum()) for name, of in CLASSES.items()}

    def labels(self, volume: np.ndarray) -> np.ndarray:
        """Return the class of each voxel of 1 mm of the brain's box, in the order L, I, A."""
        x = torch.from_numpy(conform(volume, self.spacing))[None, None].to(self.device)
        return np.asarray(self.network(x)[0].argmax(0).cpu())


def conform(volume: np.ndarray, spacing: float) -> np.ndarray:
    """Return a volume (R, A, S) as MeshNet takes it: 1 mm, (L, I, A), min-max scaled, cropped.

    It is cropped to the brain and MARGIN_MM around it; background is 0. Trilinear.
    """
    low, high = float(volume.min()), float(volume.max())
    scaled = (volume - low) / ((high - low) or 1.0)
    places = np.argwhere(scaled > 0)
    if len(places):
        box = zip(places.min(axis=0), places.max(axis=0) + 1, strict=True)
        scaled = scaled[tuple(slice(first, last) for first, last in box)]
    fine = ndimage.zoom(scaled, spacing, order=1, mode="grid-constant", grid_mode=True)
    padded = np.pad(fine, MARGIN_MM)
    return np.ascontiguousarray(padded.transpose(0, 2, 1)[::-1, ::-1], np.float32)


def measure_of(
    name: str, spacing: float, files: Sequence[Path], device: torch.device | str = "cpu"
) -> Measure:
    """Return a way to measure.

    Args:
        name: "thresholds" or "meshnet".
        spacing: of the volumes' voxels in mm.
        files: MeshNet's topology and weights; none for thresholds.
        device: where MeshNet computes.
    """
    if name == "thresholds":
        return partial(thresholds, spacing=spacing)
    return Segmented(load(*files).to(device), spacing, device)
