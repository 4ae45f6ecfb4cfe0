"""The space of a compressor's latents: scale, shape, and which compressor it is."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from wfdm.errors import UserError


@dataclass(frozen=True)
class LatentSpace:
    """What scale.json says about a compressor's latents.

    Attributes:
        scale: s_z = 1 / RMS of the posterior mean over the training split (paper, 2.5.3).
        shape: (C, d, h, w) of a latent.
        volume_shape: voxels of the volume that a latent decodes to.
        spacing: of that volume, in mm.
        compressor: folder of the compressor.
        compressor_sha256: of its model.safetensors.
    """

    scale: float
    shape: tuple[int, int, int, int]
    volume_shape: tuple[int, int, int]
    spacing: float
    compressor: str
    compressor_sha256: str

    def as_dict(self, folder: Path) -> dict:
        """Return the values for a JSON file in `folder`; the compressor's path relative to it."""
        relative = os.path.relpath(self.compressor, folder)
        return asdict(replace(self, compressor=relative))

    @classmethod
    def from_dict(cls, content: dict, folder: Path) -> "LatentSpace":
        """Rebuild what `as_dict` returned for a file in `folder`."""
        sizes = {key: tuple(content[key]) for key in ("shape", "volume_shape")}
        path = os.path.normpath(folder / content["compressor"])
        return cls(**{**content, **sizes, "compressor": path})


def read_space(folder: Path | str) -> LatentSpace:
    """Read scale.json of a folder of latents."""
    path = Path(folder) / "scale.json"
    if not path.exists():
        raise UserError(f"{path}: is missing: encode the scans first")
    return LatentSpace.from_dict(json.loads(path.read_text(encoding="utf-8")), Path(folder))
