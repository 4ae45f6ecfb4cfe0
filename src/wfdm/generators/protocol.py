"""The protocol of all that makes volumes: ours, decoded noise, another system, a folder of files.

Everything downstream (writing, features, metrics, timing, figures) knows it and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wfdm.config.cohort import Modality
from wfdm.data.table import check_modality
from wfdm.errors import UserError


@dataclass(frozen=True)
class Request:
    """One volume that is asked for.

    Attributes:
        name: a scan_id or a label; with seed and generator it decides every draw.
        modality: one of MODALITIES.
        metadata: by field; what is not recorded may be absent.
        source: a scan to start from, where a system needs one.
        mask: a label map, where a system needs one.
    """

    name: str
    modality: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    source: Path | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class Sample:
    """One volume as its generator made it, on its own grid and range.

    Attributes:
        request: what was asked.
        volume: (R, A, S) float32, RAS order.
        affine: (4, 4), voxels to mm.
    """

    request: Request
    volume: np.ndarray
    affine: np.ndarray


class Generator(Protocol):
    """Anything that makes volumes.

    Attributes:
        modalities: what it was trained to make; anything else is refused.
    """

    @property
    def modalities(self) -> tuple[Modality, ...]: ...  # noqa: D102

    def made_by(self, request: Request, seed: int) -> Mapping[str, Any]:
        """Return what the sidecar of its sample for `request` says: models, steps, digests.

        It is known before the sample is made.
        """
        ...

    def sample(self, requests: Sequence[Request], seed: int) -> Iterator[Sample]:
        """Yield a sample for each request, in order; each depends on its request and seed alone.

        Raises:
            UserError: a modality that it cannot make, or metadata that the schema does not know.
        """
        ...


def refuse_others(generator: Generator, requests: Sequence[Request], name: str) -> None:
    """Raise UserError for a request of a modality that is unknown, or that `generator` lacks."""
    for request in requests:
        check_modality(request.modality, request.name)
        if request.modality not in generator.modalities:
            raise UserError(
                f"{request.name}: {name} was not trained on {request.modality}; "
                f"it makes {', '.join(generator.modalities)}"
            )
