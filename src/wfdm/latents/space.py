"""The space of a compressor's latents: scale, shape, and which compressor it is."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from wfdm.errors import UserError, damaged


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
        """Rebuild what `as_dict` returned for a file in `folder`; UserError for something else."""
        try:
            space = TypeAdapter(cls).validate_python(content)
        except ValidationError as error:
            first = error.errors()[0]
            told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise UserError(f"{folder}: says nothing usable of its latents ({told})") from None
        return replace(space, compressor=os.path.normpath(folder / space.compressor))


def read_space(folder: Path | str) -> LatentSpace:
    """Read scale.json of a folder of latents."""
    path = Path(folder) / "scale.json"
    if not path.exists():
        raise UserError(f"{path}: is missing: encode the scans first")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged(path, error) from None
    return LatentSpace.from_dict(content, Path(folder))
