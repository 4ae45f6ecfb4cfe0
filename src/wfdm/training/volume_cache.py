"""Standardised volumes in one binary file, memory-mapped: a crop reads only its own pages.

Reading a compressed NIfTI file and taking percentiles of it costs far more than a training step's
crop. The file is filled as volumes are asked for, by any number of processes at once (they write
the same bytes), is shared by all trainings on the same volumes, and may be deleted at any time.
"""

import fcntl
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from wfdm.config.volumes import VolumeSettings
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError
from wfdm.provenance.fingerprints import fingerprint


class Volumes:
    """Standardised volumes by index.

    Held as float16: that halves the file and, in [0, 1], errs by 0.0002 at most. Volumes that
    are not cached are rounded too, so that the cache never shows in a result.

    Args:
        volumes: columns path and, for a cache, sha256.
        settings: shape and percentiles.
        cache: folder of the cache's files; None for no cache.
        cache_mb: volumes beyond this many MB are read from their own files every time.
    """

    def __init__(
        self, volumes: pd.DataFrame, settings: VolumeSettings, cache: Path | None, cache_mb: float
    ) -> None:
        self.paths, self.settings = volumes["path"].tolist(), settings
        self._bytes = 2 * int(np.prod(settings.shape))
        self._room = 0
        self._maps: tuple[np.memmap, np.memmap] | None = None
        if cache is not None:
            self._room = min(len(self.paths), int(cache_mb * 1e6 // self._bytes))
            name = _key(volumes["sha256"].tolist(), settings)
            self._file = cache / f"{name}.f16"

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return volume `index`, (1, *shape) float16 in [0, 1]; not to be written to."""
        if index >= self._room:
            return self._read(index)
        if self._maps is None:  # not before it is used, so that each loading process has its own
            self._maps = self._open()
        cached, filled = self._maps
        return cached[index] if filled[index] else self._filled(index)

    def _read(self, index: int) -> np.ndarray:
        return load_standardised(self.paths[index], self.settings).astype(np.float16)

    def _open(self) -> tuple[np.memmap, np.memmap]:
        """Map the volumes and their flags; what is not filled takes no space on the disk.

        Both are one file, so that neither can be lost, or cut short, without the other.
        """
        count = len(self.paths)
        flags = count * self._bytes
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with open(self._file, "ab") as stream:
            fcntl.lockf(stream, fcntl.LOCK_EX)  # others may be about to make it too
            size = os.fstat(stream.fileno()).st_size
            if size == 0:
                # Space for the flags alone: where a file system gives it to a hole that is read, a
                # full one would crash the process, since a map cannot report it.
                os.posix_fallocate(stream.fileno(), flags, count)
            elif size != flags + count:
                raise UserError(f"{self._file}: cut short; remove it, it is filled again")
        shape = (count, 1, *self.settings.shape)
        return (
            np.memmap(self._file, np.float16, "r", shape=shape),
            np.memmap(self._file, np.uint8, "r", offset=flags, shape=(count,)),
        )

    def _filled(self, index: int) -> np.ndarray:
        """Write a volume and, once it is on the disk, its flag; return the volume."""
        volume = self._read(index)
        # Not through the map: there a full disk would crash the process, here it is an error.
        try:
            _write(self._file, index * self._bytes, volume.tobytes())
            _write(self._file, len(self.paths) * self._bytes + index, b"\x01")
        except OSError as error:
            raise UserError(
                f"{error.strerror}: {self._file}; free space and run again (or lower cache_mb, "
                "which takes less)"
            ) from error
        return volume


def _write(path: Path, offset: int, content: bytes) -> None:
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _key(digests: list[str], settings: VolumeSettings) -> str:
    """Return a name for these volumes, standardised by these settings and this code."""
    content = [digests, settings.model_dump(mode="json"), fingerprint("wfdm.data.volumes")]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:20]
