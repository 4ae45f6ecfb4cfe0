"""Completed scans against the real ones, beside floors that look at no branch."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from wfdm.config.volumes import VolumeSettings
from wfdm.data.paths import SPACE
from wfdm.data.shards import each_once
from wfdm.data.table import rows_of
from wfdm.data.volumes import UNIT, load_scan
from wfdm.errors import UserError
from wfdm.evaluation.completion_columns import (
    BRAIN,
    COLUMNS,
    COMPLETED,
    LESION,
    MEAN,
    NEAREST,
    RECONSTRUCTED,
    UNET,
)
from wfdm.evaluation.decoded import Decoded
from wfdm.evaluation.inside import inside
from wfdm.evaluation.nearest import Nearest
from wfdm.latents.cache import Latents


def session_of(scan_id: str) -> str:
    """Return the key of a scan's session."""
    return scan_id.rpartition("_")[0]


@dataclass(frozen=True)
class Truth:
    """What completed scans are compared with.

    Attributes:
        paths: of every real volume, by scan_id.
        means: mean training volume by modality, (1, *shape).
        nearest: of the training sessions.
        decoded: what latents say without a completion.
        lesions: folder of lesion masks, SESSION_lesion.nii.gz; None: there are none.
        settings: of the tensor that every model sees.
        device: where the metrics are computed.
    """

    paths: Mapping[str, str]
    means: Mapping[str, np.ndarray]
    nearest: Nearest
    decoded: Decoded
    lesions: Path | None
    settings: VolumeSettings
    device: torch.device | str = "cpu"

    def real(self, scan_id: str) -> Tensor:
        """Return a real volume (1, 1, *shape)."""
        return self.loaded(self.paths[scan_id], "")

    def loaded(self, path: str | Path, kind: str) -> Tensor:
        """Return a volume (1, 1, *shape), of a range as `load_scan` knows it."""
        volume = load_scan({"path": path, "range": kind}, self.settings)
        return torch.from_numpy(volume)[None].to(self.device)

    def masks(self, scan_id: str) -> dict[str, Tensor]:
        """Return where the metrics are taken, (*shape) bool by region.

        Raises:
            UserError: the scan has no brain mask beside it, or nothing of it is in the volume.
        """
        prefix = session_of(scan_id).rpartition("/")[2]  # one mask for all contrasts of a session
        name = f"{prefix}_space-{SPACE}_desc-brain_mask.nii.gz"
        brain = Path(self.paths[scan_id]).with_name(name)
        if not brain.is_file():
            raise UserError(f"{self.paths[scan_id]}: has no brain mask beside it: preprocess again")
        files = {BRAIN: brain}
        if lesion := lesion_of(self.lesions, scan_id):
            files[LESION] = lesion
        found = {name: self.loaded(path, UNIT)[0, 0] > 0.5 for name, path in files.items()}
        for name, mask in found.items():
            if not mask.any():
                raise UserError(f"{files[name]}: nothing of it lies in the volume.shape")
        return found


def lesion_of(folder: Path | None, scan_id: str) -> Path | None:
    """Return the lesion mask of a scan's session; None where there is none."""
    path = folder / f"{session_of(scan_id)}_lesion.nii.gz" if folder else None
    return path if path and path.is_file() else None


def nearest_of(latents: Path, training: pd.DataFrame, asking: pd.DataFrame) -> Nearest:
    """Return the look-up among the training sessions for the sessions of some scans.

    Args:
        latents: folder of the latent cache, which holds all of them.
        training: scan_id and modality of the training scans.
        asking: of the sessions that ask.
    """
    return Nearest(Latents(latents), list(_sessions(training).values()), _sessions(asking))


def _sessions(scans: pd.DataFrame) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for scan_id, modality in zip(scans["scan_id"], scans["modality"], strict=True):
        found[session_of(scan_id)][modality] = scan_id
    return {key: found[key] for key in sorted(found)}


def score(completed: pd.DataFrame, truth: Truth, out: Path, identity: str) -> pd.DataFrame:
    """Compare every completed scan, and the floors beside it, with the real scan.

    Args:
        completed: scan_id, modality, sources ("T1w+FLAIR"), path.
        truth: what they are compared with.
        out: where the table will go; what a killed run measured is kept beside it.
        identity: of settings, inputs and code.

    Returns:
        COLUMNS: a row for each completed scan and method. A floor that there is not, for the
        training split has no such scan, has no row.
    """
    of_scan: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of(completed):
        of_scan[row["scan_id"]].append(row)

    @torch.inference_mode()
    def rows(scan_id: str) -> list[dict[str, Any]]:
        real, masks = truth.real(scan_id), truth.masks(scan_id)
        answers: dict[str, dict[str, float]] = {}  # each is measured once, whatever asks for it

        def measured(key: str, volume: Tensor) -> dict[str, float]:
            if key not in answers:
                found = inside(volume, real, masks)
                answers[key] = {
                    f"{region} {metric}": value
                    for region, values in found.items()
                    for metric, value in values.items()
                }
            return answers[key]

        found = []
        for row in of_scan[scan_id]:
            key = {name: row[name] for name in ("scan_id", "modality", "sources")}
            values = {COMPLETED: measured(row["path"], truth.loaded(row["path"], UNIT))}
            session, names = session_of(scan_id), row["sources"].split("+")
            given = [f"{session}_{name}" for name in names]
            if (predicted := truth.decoded.predicted(given, row["modality"])) is not None:
                values[UNET] = measured(f"{UNET} {row['sources']}", predicted)
            other = truth.nearest.scan(session, names, row["modality"])
            if other is not None:
                values[NEAREST] = measured(other, truth.real(other))
            if row["modality"] in truth.means:
                mean = torch.from_numpy(truth.means[row["modality"]])[None].to(truth.device)
                values[MEAN] = measured(MEAN, mean)
            itself = truth.decoded.reconstructed(scan_id)
            values[RECONSTRUCTED] = measured(RECONSTRUCTED, itself)
            found += [key | {"method": name} | told for name, told in values.items()]
        return found

    done = each_once(sorted(of_scan), rows, out, identity, "completed scans")
    return pd.DataFrame([row for _, part in done for row in part], columns=[*COLUMNS])
