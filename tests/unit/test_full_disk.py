"""Writers on a disk that is really full: an error with the name of the file, nothing half made."""

import errno
import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from wfdm.atomic import named
from wfdm.config.compressors import HaarTransform
from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import write_table
from wfdm.data.volumes import write_nifti
from wfdm.errors import UserError, fault_of_machine
from wfdm.figures.panels import save
from wfdm.latents.encode import encode_shard
from wfdm.models.compressors import registry
from wfdm.models.weights import save_weights
from wfdm.preprocess.transforms import write_transform
from wfdm.training.board import Board
from wfdm.training.volume_cache import Volumes

SIZE = 200_000  # bytes of the disk
SETTINGS = VolumeSettings(shape=(32, 32, 32))


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk of one's own takes the right to mount one (root)")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # an error may hold a file open


def fill(folder: Path, room: int = 0) -> None:
    with open(folder / "filler", "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass
        os.truncate(stream.fileno(), max(0, stream.tell() // 4096 * 4096 - room))


def picture(path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6))
    figure.subplots().imshow(np.random.default_rng(0).random((400, 400)))
    save(figure, path, 150)


def curves(path: Path) -> None:
    board = Board(path.parent, 0)
    for step in range(5000):
        board.show({"step": step, "loss": 1.0})


NOISE = np.random.default_rng(0).random((50, 50, 50), np.float32)
WRITERS = {
    "weights.safetensors": lambda path: save_weights(path, {"a": torch.zeros(10**6)}),
    "table.tsv": lambda path: write_table(pd.DataFrame(NOISE.reshape(-1, 25)), path),
    "volume.nii.gz": lambda path: write_nifti(path, NOISE, np.eye(4)),
    "picture.pdf": picture,
    "events": curves,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_leaves_nothing_and_names_the_file(disk, name):
    fill(disk, room=20_000)
    with pytest.raises(Exception) as raised:
        WRITERS[name](disk / name)
    told = fault_of_machine(raised.value)
    assert told.startswith(f"No space left on device: {disk}/") and "\n" not in told
    left = [path.name for path in disk.rglob("*") if path.is_file() and "events" not in path.name]
    assert left == ["filler"]


def test_a_transform_too(disk):
    """ITK's own writer tells nobody that the disk is full."""
    fill(disk)
    with pytest.raises(Exception) as raised:
        write_transform(disk / "xfm.mat", np.eye(4))
    assert fault_of_machine(raised.value) and not (disk / "xfm.mat").exists()


@pytest.fixture
def volumes(tmp_path):
    rows = []
    for index in range(6):
        path = tmp_path / f"{index}.nii.gz"
        write_nifti(path, np.random.default_rng(index).random((32, 32, 32), np.float32), np.eye(4))
        rows.append({"scan_id": f"A/sub-{index}_T1w", "path": str(path), "sha256": str(index)})
    return pd.DataFrame(rows)


def test_encoding_goes_on_where_the_disk_was_full(disk, volumes, tmp_path):
    registry.save(tmp_path / "haar", registry.build(HaarTransform(kind="haar", levels=1)))

    def encode(out: Path) -> bytes:
        encode_shard(tmp_path / "haar", volumes, 0, 1, SETTINGS, out, "identity")
        return (out / "shard-0000-of-0001.npy").read_bytes()

    wanted = encode(tmp_path / "undisturbed")
    fill(disk, room=len(wanted) // 2)
    with pytest.raises(OSError, match="No space left") as raised:
        encode(disk / "latents")
    assert str(disk / "latents" / "shard-0000-of-0001.npy") in fault_of_machine(raised.value)
    assert not (disk / "latents" / "shard-0000-of-0001.npy").exists()
    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", f"remount,size={len(wanted) * 3}", str(disk)], check=True)
    assert encode(disk / "latents") == wanted


@pytest.mark.parametrize("room", [0, 100_000])
def test_a_cache_of_volumes_crashes_nothing(disk, volumes, room):
    """Six volumes of 66 kB each: a full disk ends in an error, not in a signal."""
    fill(disk, room)
    cached = Volumes(volumes, SETTINGS, disk / "cache", 100)
    with pytest.raises((UserError, OSError), match="No space left on device"):
        for index in range(6):
            cached[index]
    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
    plain = Volumes(volumes, SETTINGS, None, 0)
    again = Volumes(volumes, SETTINGS, disk / "cache", 100)
    assert all(np.array_equal(again[index], plain[index]) for index in range(6))


def test_a_fault_is_found_below_what_a_library_raises_on_top_of_it():
    """As zlib does when a PDF is closed on a full disk."""
    with pytest.raises(ValueError) as raised:  # noqa: SIM117
        with named("figure.pdf"):
            try:
                raise OSError(errno.ENOSPC, "write")
            finally:
                raise ValueError("inconsistent stream state")
    assert fault_of_machine(raised.value) == (
        f"{os.strerror(errno.ENOSPC)}: figure.pdf; free space and run again"
    )
    assert fault_of_machine(ValueError("any other")) is None
