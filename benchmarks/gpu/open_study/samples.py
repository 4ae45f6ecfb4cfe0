"""What the samples of the open study are: distances to scans, spread, sharpness, pictures."""

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarks.gpu.open_study.data import Data
from benchmarks.gpu.open_study.reconstructions import detail

HEADING = 14  # pixels above each group of a mosaic
DARK = 0.1  # below this a voxel counts as outside the brain


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Return the RMS difference of each pair, (n, m), without holding a copy of all pairs."""
    b = second.flatten(1)
    rows = [(a[None] - b).square().mean(1).sqrt() for a in first.flatten(1)]
    return torch.stack(rows)


def summary(values: Tensor) -> dict[str, float]:
    """Return mean, smallest, median and largest of some numbers."""
    return {
        "n": len(values),
        "mean": float(values.mean()),
        "smallest": float(values.min()),
        "median": float(values.median()),
        "largest": float(values.max()),
    }


def spread(values: Tensor) -> float | None:
    """Return the mean RMS difference between two of them."""
    if len(values) < 2:
        return None
    found = distances(values, values)
    first, second = torch.triu_indices(len(values), len(values), 1).unbind()
    return float(found[first.to(found.device), second.to(found.device)].mean())


def nearest(
    samples: Tensor, held: Tensor, fit: Tensor, mirrored: Tensor, persons: list[str]
) -> dict[str, Any]:
    """Return distances to the nearest training scan or its mirror image.

    Args:
        samples: what was generated.
        held: held-out scans: how far a new person is.
        fit: training scans.
        mirrored: the same, left and right exchanged.
        persons: of the training scans, so that nobody is their own neighbour.
    """
    both = torch.cat((fit, mirrored))
    of_samples = distances(samples, both).min(1)
    same = torch.tensor([[a == b for b in persons + persons] for a in persons], device=fit.device)
    left_out = distances(fit, both).masked_fill(same, float("inf")).min(1).values
    left_out = left_out[left_out.isfinite()]
    found = {"samples": summary(of_samples.values)}
    found["different_neighbours"] = len(set((of_samples.indices % len(fit)).tolist()))
    if len(left_out):
        found["training_scans_without_themselves"] = summary(left_out)
    if len(held):
        found["held_out"] = summary(distances(held, both).min(1).values)
        found["ratio_of_medians"] = found["samples"]["median"] / found["held_out"]["median"]
    found["spread_samples"], found["spread_training"] = spread(samples), spread(fit[:32])
    return found


def looks(volumes: Tensor, spacing: float) -> dict[str, Any]:
    """Return volume of the brain in mL, brightness inside it, and sharpness: mean and deviation."""
    inside = volumes > DARK
    millilitres = inside.flatten(1).sum(1).float() * spacing**3 / 1000
    brightness = (volumes * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp(min=1)
    parts = {"brain_ml": millilitres, "brightness": brightness, "detail": detail(volumes)}
    return {"n": len(volumes)} | {
        name: [float(x.mean()), float(x.std()) if len(x) > 1 else 0.0] for name, x in parts.items()
    }


def rows_of(data: Data, split: str, modality: int) -> Tensor:
    """Return the rows of one modality in one split, or in both that are held out."""
    rows = data.held_out() if split == "held_out" else data.split[split]
    return rows[data.modalities[rows] == modality]


def to_bytes(volumes: Tensor) -> np.ndarray:
    """Return volumes (n, 1, R, A, S) of [0, 1] as (n, R, A, S) uint8."""
    return (volumes[:, 0].clamp(0, 1) * 255).round().byte().cpu().numpy()


def middle_slices(volumes: np.ndarray) -> dict[str, np.ndarray]:
    """Return sagittal, coronal and axial slices of (n, R, A, S), each (n, rows, columns)."""
    _, right, front, up = volumes.shape
    return {
        "sagittal": volumes[:, right // 2 + 3, ::-1, ::-1].transpose(0, 2, 1),
        "coronal": volumes[:, ::-1, front // 2, ::-1].transpose(0, 2, 1),
        "axial": volumes[:, ::-1, ::-1, up // 2].transpose(0, 2, 1),
    }


def tile(volume: np.ndarray) -> np.ndarray:
    """Return three planes of one volume side by side."""
    planes = [plane[0] for plane in middle_slices(volume[None]).values()]
    height = max(plane.shape[0] for plane in planes)
    padded = [np.pad(p, ((height - p.shape[0], 0), (0, 0))) for p in planes]
    return np.concatenate(padded, axis=1)


def mosaic(groups: list[tuple[str, np.ndarray]], columns: int) -> Image.Image:
    """Return one picture: for each group a heading and its volumes (n, R, A, S), uint8."""
    strips: list[np.ndarray] = []
    headings: list[tuple[int, str]] = []
    top = 0
    for heading, volumes in groups:
        if not len(volumes):
            continue
        tiles = [tile(volume) for volume in volumes]
        blank = np.zeros_like(tiles[0])
        tiles += [blank] * (-len(tiles) % columns)
        lines = [
            np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)
        ]
        headings.append((top, heading))
        strips += [np.zeros((HEADING, lines[0].shape[1]), np.uint8), *lines]
        top += HEADING + sum(line.shape[0] for line in lines)
    picture = Image.fromarray(np.concatenate(strips))
    pen = ImageDraw.Draw(picture)
    for place, heading in headings:
        pen.text((4, place + 1), heading, fill=255)
    return picture
