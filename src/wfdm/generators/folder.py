"""A folder of finished volumes, made by another program: a table lists modality and path."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wfdm.config.cohort import Modality
from wfdm.config.generators import FolderSettings
from wfdm.data.table import MODALITIES, check_modality, read_table, rows_of
from wfdm.data.volumes import read_image
from wfdm.errors import UserError
from wfdm.generators.protocol import Request, Sample, refuse_others
from wfdm.provenance.digests import sha256_of


@dataclass(frozen=True)
class FinishedVolumes:
    """Volumes by modality."""

    name: str
    paths: Mapping[str, frozenset[Path]]

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that the table holds."""
        return tuple(name for name in MODALITIES if self.paths.get(name))  # type: ignore[misc]

    def made_by(self, request: Request, seed: int) -> dict[str, Any]:
        """Return what the sidecar of a sample says of how it was made."""
        path = self._path_for(request)
        return {"Sources": [str(path)], "SourceSHA256": sha256_of(path)}

    def sample(self, requests: Sequence[Request], seed: int) -> Iterator[Sample]:
        """Yield the volume that belongs to each request."""
        refuse_others(self, requests, self.name)
        for request in requests:
            image = read_image(self._path_for(request))
            volume = np.asarray(image.dataobj, dtype=np.float32)
            yield Sample(request, volume, image.affine)

    def _path_for(self, request: Request) -> Path:
        """Return the listed volume whose path is the request's name, else raise UserError."""
        path = Path(request.name)
        if path not in self.paths.get(request.modality, ()):
            raise UserError(f"{self.name}: has no volume '{path}' of {request.modality}")
        return path

    def requests(self) -> list[Request]:
        """Return a request for every volume that is there."""
        return [Request(str(path), name) for name, found in self.paths.items() for path in found]


def load(name: str, table: Path) -> FinishedVolumes:
    """Read the table of a folder of finished volumes.

    Args:
        name: of the generator.
        table: TSV with columns modality and path; relative paths count from the table's folder.

    Raises:
        UserError: a column is missing, a modality is unknown, or the table is empty.
    """
    listed = read_table(table)
    if not {"modality", "path"} <= set(listed.columns) or listed.empty:
        raise UserError(f"{table}: needs the columns modality and path, and a row per volume")
    paths: dict[str, set[Path]] = defaultdict(set)
    for row in rows_of(listed):
        check_modality(row["modality"], table)
        paths[row["modality"]].add(table.parent / row["path"])
    return FinishedVolumes(name, {modality: frozenset(found) for modality, found in paths.items()})


def of_row(name: str, row: FolderSettings, source: Path) -> FinishedVolumes:
    """Return a row of table 4; `source` is its table."""
    return load(name, source)
