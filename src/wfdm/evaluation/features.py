"""Files of features: one row per volume, and the network and the modality that each is nearest to.

Without torch: what only reads features starts at once.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from wfdm.atomic import atomic_path
from wfdm.errors import UserError, damaged


@dataclass(frozen=True)
class Features:
    """Pooled features of n volumes, and what made them."""

    values: Mapping[str, np.ndarray]
    """float32 (n, d) for each mapping of intensities before the network, the first one first"""
    scan_ids: tuple[str, ...]
    modalities: tuple[str, ...]
    nearest: tuple[str, ...]
    """modality whose mean training volume is nearest"""
    extractor: str
    """name of the network"""
    digest: str
    """sha256 of its weights"""

    @property
    def intensities(self) -> tuple[str, ...]:
        """The mappings of intensities before the network."""
        return tuple(self.values)

    @property
    def source(self) -> tuple[str, str, tuple[str, ...]]:
        """What made them: network, digest of its weights, mappings of intensities."""
        return self.extractor, self.digest, self.intensities

    def of(self, modality: str, intensity: str | None = None) -> np.ndarray:
        """Return the features of one modality, float64 (m, d), by default of the first mapping.

        Double precision because the kernel of MMD subtracts large squares.
        """
        found = self.values[intensity or self.intensities[0]]
        return found[np.array(self.modalities) == modality].astype(np.float64)


def write(features: Features, out: Path | str) -> None:
    """Write features to a safetensors file."""
    about = {
        "scan_ids": features.scan_ids,
        "modalities": features.modalities,
        "nearest": features.nearest,
        "extractor": features.extractor,
        "digest": features.digest,
        "intensities": features.intensities,
    }
    with atomic_path(out) as temporary:
        # One metadata key: safetensors writes several in an order that changes from run to run.
        save_file(dict(features.values), temporary, metadata={"about": json.dumps(about)})


def read_features(paths: Sequence[Path | str]) -> Features:
    """Read the files that `write` wrote, shard by shard, as one in the order of scan_id.

    Raises:
        UserError: a file of another program, or of another network than the rest.
    """
    parts = [_read(path) for path in paths]
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if part.source != first.source:
            raise UserError(
                f"{path}: features by {part.source}, but {paths[0]} has {first.source}; "
                "extract them again"
            )
    filled = [part for part in parts if part.scan_ids]
    if not filled:
        raise UserError(f"{paths[0]}: there is no volume to extract features from")
    scan_ids = np.concatenate([part.scan_ids for part in filled])
    order = np.argsort(scan_ids, kind="stable")
    modalities = np.concatenate([part.modalities for part in filled])
    nearest = np.concatenate([part.nearest for part in filled])
    return replace(
        first,
        values={
            intensity: np.concatenate([part.values[intensity] for part in filled])[order]
            for intensity in first.intensities
        },
        scan_ids=tuple(map(str, scan_ids[order])),
        modalities=tuple(map(str, modalities[order])),
        nearest=tuple(map(str, nearest[order])),
    )


def _read(path: Path | str) -> Features:
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("about", "null"))
            if about is None:
                raise UserError(f"{path}: not a features file of this pipeline; extract it again")
            values = {name: file.get_tensor(name) for name in about["intensities"]}
    except SafetensorError as error:
        raise damaged(path, error) from None
    return Features(
        values=values,
        scan_ids=tuple(about["scan_ids"]),
        modalities=tuple(about["modalities"]),
        nearest=tuple(about["nearest"]),
        extractor=about["extractor"],
        digest=about["digest"],
    )
