"""What the published systems in latents share: an autoencoder, whose file lies beside the other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from wfdm.baselines.system import Published
from wfdm.config.latent_baselines import LatentSystem
from wfdm.data.assets import find, verify
from wfdm.generators.protocol import Request


@dataclass(frozen=True)
class LatentPublished(Published):
    """A published system with an autoencoder.

    Attributes:
        autoencoder: frozen, on `device`.
        autoencoder_digest: sha256 of its file.
    """

    autoencoder: nn.Module
    autoencoder_digest: str

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar of a sample says of how it was made."""
        digests = {"weights": self.digest, "autoencoder": self.autoencoder_digest}
        return {**super().made_by(request, seed), "ModelSHA256": digests}


def autoencoder_file(row: LatentSystem, source: Path) -> Path:
    """Return the file of a row's autoencoder, verified; it lies in the folder of `source`.

    Raises:
        UserError: it is not there, or is another file than the asset.
    """
    file = source.parent / find(row.autoencoder).file
    verify(row.autoencoder, file)
    return file
