"""The binary cache of standardised volumes: same values, filled once, safe to share and to lose."""

import multiprocessing

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from wfdm.config.volumes import VolumeSettings
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError
from wfdm.provenance.digests import sha256_of
from wfdm.training import volume_cache as cache
from wfdm.training.volume_cache import Volumes

SETTINGS = VolumeSettings(shape=(12, 16, 8))
MB = 2 * 12 * 16 * 8 / 1e6  # of one volume


@pytest.fixture
def table(tmp_path):
    rows = []
    for index in range(4):
        path = tmp_path / f"{index}.nii.gz"
        data = np.random.default_rng(index).random((14, 15, 9), dtype=np.float32)
        nib.save(nib.Nifti1Image(data, np.eye(4)), path)
        rows.append({"path": str(path), "sha256": sha256_of(path)})
    return pd.DataFrame(rows)


def test_it_gives_the_standardised_volumes(table, tmp_path):
    cached = Volumes(table, SETTINGS, tmp_path / "cache", 100)
    plain = Volumes(table, SETTINGS, None, 0)
    for _ in range(2):  # filling, then reading
        for index, path in enumerate(table["path"]):
            wanted = load_standardised(path, SETTINGS)
            assert cached[index].shape == wanted.shape == (1, 12, 16, 8)
            assert np.array_equal(cached[index], plain[index])
            assert np.abs(cached[index] - wanted).max() <= 2**-12  # half a step below 1


def test_a_second_reader_needs_no_image(table, tmp_path, monkeypatch):
    first = Volumes(table, SETTINGS, tmp_path / "cache", 100)
    kept = [first[index].copy() for index in range(4)]
    monkeypatch.setattr(cache, "load_standardised", None)
    second = Volumes(table, SETTINGS, tmp_path / "cache", 100)
    assert all(np.array_equal(second[index], kept[index]) for index in range(4))


def test_other_volumes_and_settings_have_other_files(table, tmp_path):
    names = set()
    other = table.assign(sha256=[*table["sha256"][:3], "0" * 64])
    shifted = VolumeSettings(shape=SETTINGS.shape, percentiles=(1, 99))
    for volumes, settings in ((table, SETTINGS), (other, SETTINGS), (table, shifted)):
        Volumes(volumes, settings, tmp_path / "cache", 100)[0]
        names |= {path.name for path in (tmp_path / "cache").iterdir()}
    assert len(names) == 3


def test_it_holds_no_more_than_it_may(table, tmp_path):
    volumes = Volumes(table, SETTINGS, tmp_path / "cache", 2.5 * MB)
    for index in range(4):
        volumes[index]
    (file,) = (tmp_path / "cache").iterdir()
    assert file.read_bytes()[-4:] == b"\x01\x01\x00\x00"


def test_a_volume_cut_off_while_written_is_read_again(table, tmp_path):
    volumes = Volumes(table, SETTINGS, tmp_path / "cache", 100)
    wanted = volumes[1].copy()
    (file,) = (tmp_path / "cache").iterdir()
    content = bytearray(file.read_bytes())
    size = len(content) // 4
    content[size : size + 100] = bytes(100)  # killed before the flag was written
    content[-4:] = bytes(4)
    file.write_bytes(content)
    again = Volumes(table, SETTINGS, tmp_path / "cache", 100)
    assert np.array_equal(again[1], wanted)


def _read_all(table, folder):
    volumes = Volumes(table, SETTINGS, folder, 100)
    for index in range(4):
        volumes[index]


def test_processes_fill_it_together(table, tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_read_all, args=(table, tmp_path / "cache")) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    volumes = Volumes(table, SETTINGS, tmp_path / "cache", 100)
    plain = Volumes(table, SETTINGS, None, 0)
    assert all(np.array_equal(volumes[index], plain[index]) for index in range(4))


def test_a_full_disk_is_told(table, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write", full)
    with pytest.raises(UserError, match=r"No space left on device: .*; free space and run again"):
        Volumes(table, SETTINGS, tmp_path / "cache", 100)[0]


@pytest.mark.parametrize("left", [1, 0.5, 0])
def test_a_file_that_was_cut_short_is_never_read_as_zeros(table, tmp_path, left):
    wanted = Volumes(table, SETTINGS, tmp_path / "cache", 100)[3].copy()
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * left)] if left < 1 else whole[:-1])
    again = Volumes(table, SETTINGS, tmp_path / "cache", 100)
    if left:
        with pytest.raises(UserError, match=r"\.f16: cut short; remove it"):
            again[3]
        file.unlink()
    assert np.array_equal(again[3], wanted)
