"""The latent cache against NumPy on the same volumes."""

import json
import math
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pywt
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.stage_b import (
    LATENT,
    SPACING,
    VOLUME,
    cohort,
    encode_all,
    haar_compressor,
    write_volumes,
)
from wfdm.config.compressors import WaveletFusion
from wfdm.data.shards import in_shard, shard_of, shard_path
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError
from wfdm.latents import encode
from wfdm.latents.cache import Latents, merge
from wfdm.latents.compressor import load_compressor
from wfdm.latents.encode import encode_shard
from wfdm.latents.space import LatentSpace, read_space
from wfdm.models.compressors.registry import build, save


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    root = tmp_path_factory.mktemp("latents")
    scans = cohort()
    return encode_all(root, scans), scans


@given(st.sets(st.text("abc/", min_size=1, max_size=6)), st.integers(1, 9))
def test_shards_divide_the_scans(scan_ids: set[str], shards: int) -> None:
    parts = [in_shard(scan_ids, shard, shards) for shard in range(shards)]
    assert sorted(chain.from_iterable(parts)) == sorted(scan_ids)


@given(st.sets(st.text("abc/", min_size=1, max_size=6), min_size=1), st.integers(1, 9))
def test_who_leaves_moves_nobody(scan_ids: set[str], shards: int) -> None:
    gone, *left = sorted(scan_ids)
    for shard in range(shards):
        before = [scan for scan in in_shard(scan_ids, shard, shards) if scan != gone]
        assert in_shard(left, shard, shards) == before


def test_shards_are_of_about_one_size() -> None:
    """29,139 sessions in 64 shards: binomial, so all within 5 standard deviations of the mean."""
    names = [f"DATASET/sub-{number}" for number in range(29_139)]
    sizes = np.bincount([shard_of(name, 64) for name in names], minlength=64)
    assert (abs(sizes - 29_139 / 64) < 5 * math.sqrt(29_139 / 64)).all()


def test_a_shard_that_is_not_there_is_told() -> None:
    with pytest.raises(UserError, match="counted from 0"):
        in_shard(["a"], 2, 2)


def test_latents_are_the_scaled_coefficients(encoded: tuple[Path, pd.DataFrame]) -> None:
    """Low band and total energy of PyWavelets' orthonormal Haar transform, per scan."""
    folder, scans = encoded
    latents = Latents(folder)
    volumes = {key: folder.parent / f"{i}.nii.gz" for i, key in enumerate(scans["scan_id"])}
    for key, path in volumes.items():
        bands = pywt.dwtn(load_standardised(path, VOLUME)[0].astype(float), "haar")
        z = latents.scaled_mean(key) / latents.space.scale
        assert z.shape == LATENT and z.dtype == np.float32
        np.testing.assert_allclose(z[0], bands["aaa"], rtol=2e-3)
        energy = sum(np.square(band).sum() for band in bands.values())
        assert math.isclose(np.square(z, dtype=float).sum(), energy, rel_tol=2e-3)


def test_scale_gives_the_training_split_unit_rms(encoded: tuple[Path, pd.DataFrame]) -> None:
    folder, scans = encoded
    latents = Latents(folder)
    means = {split: [] for split in ("train", "validation", "test")}
    for key, split in zip(scans["scan_id"], scans["split"], strict=True):
        means[split].append(latents.scaled_mean(key).astype(np.float64))
    assert math.isclose(np.square(means["train"]).mean(), 1, rel_tol=1e-6)
    assert not math.isclose(np.square(means["test"]).mean(), 1, rel_tol=1e-6)


def test_number_of_shards_leaves_no_trace(
    encoded: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    """Also more shards than scans: the empty ones do no harm."""
    folder, scans = encoded
    few, many = Latents(folder), Latents(encode_all(tmp_path, scans, shards=len(scans) + 2))
    assert math.isclose(few.space.scale, many.space.scale, rel_tol=1e-12)
    for key in scans["scan_id"]:
        np.testing.assert_allclose(few.scaled_mean(key), many.scaled_mean(key), rtol=1e-6)


def test_description_moves_with_the_results(encoded: tuple[Path, pd.DataFrame]) -> None:
    """Paths in scale.json are relative, so a results folder can be moved."""
    folder, _ = encoded
    content = json.loads((folder / "scale.json").read_text())
    assert content["compressor"] == "../compressors/haar"
    space = read_space(folder)
    assert (space.shape, space.volume_shape, space.spacing) == (LATENT, VOLUME.shape, SPACING)
    elsewhere = folder.parent / "generators" / "x"
    assert LatentSpace.from_dict(space.as_dict(elsewhere), elsewhere) == space


def test_another_compressor_is_refused(tmp_path: Path) -> None:
    folder = encode_all(tmp_path, cohort())
    space = read_space(folder)
    load_compressor(space)
    with open(Path(space.compressor) / "model.safetensors", "ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match="not the compressor that made the latents"):
        load_compressor(space)


def test_missing_pieces_are_told(encoded: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    folder, scans = encoded
    with pytest.raises(UserError, match="encode the scans first"):
        Latents(tmp_path)
    with pytest.raises(UserError, match="training split"):
        merge(folder, 2, scans.assign(split="test"), Path("x"), VOLUME.shape, SPACING)


def test_zero_latents_are_refused(tmp_path: Path) -> None:
    scans = cohort()
    folder = encode_all(tmp_path, scans, shards=1)
    file = shard_path(folder, 0, 1, ".npy")
    np.save(file, np.zeros_like(np.load(file)))
    with pytest.raises(UserError, match="every latent is zero"):
        merge(folder, 1, scans, haar_compressor(tmp_path / "c"), VOLUME.shape, SPACING)


def test_latents_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    settings = WaveletFusion(
        kind="wavelet-fusion", channels=(8, 8), wavelet_channels=4, norm_groups=4
    )
    model = build(settings)
    for name, parameter in model.named_parameters():
        if name.startswith("to_mean"):
            parameter.data.fill_(1e6)
    save(tmp_path / "c", model)
    scans = cohort().head(1)
    volumes = write_volumes(tmp_path, scans)
    with pytest.raises(UserError, match=r"ALPHA/sub-00_T1w.*half precision"):
        encode_shard(tmp_path / "c", volumes, 0, 1, VOLUME, tmp_path / "z", "identity")
    assert not [path for path in (tmp_path / "z").iterdir() if not path.name.startswith(".")]


def test_what_a_killed_run_encoded_is_kept(tmp_path: Path, monkeypatch) -> None:
    """Killed at the third scan of four, it encodes the two that are left, to the same bytes."""
    scans = cohort().head(4)
    volumes, compressor = write_volumes(tmp_path, scans), haar_compressor(tmp_path / "c")
    encode_shard(compressor, volumes, 0, 1, VOLUME, tmp_path / "whole", "identity")
    read, seen = encode.load_scan, []

    def dies(path, settings):
        seen.append(path)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(path, settings)

    monkeypatch.setattr(encode, "load_scan", dies)
    with pytest.raises(KeyboardInterrupt):
        encode_shard(compressor, volumes, 0, 1, VOLUME, tmp_path / "cut", "identity")
    encode_shard(compressor, volumes, 0, 1, VOLUME, tmp_path / "cut", "identity")
    assert len(seen) == 3 + 2
    for suffix in (".npy", ".tsv"):
        whole, cut = (shard_path(tmp_path / name, 0, 1, suffix) for name in ("whole", "cut"))
        assert cut.read_bytes() == whole.read_bytes()
    assert not list((tmp_path / "cut").glob(".partial*"))


def test_what_other_settings_encoded_is_not_kept(tmp_path: Path, monkeypatch) -> None:
    scans = cohort().head(2)
    volumes, compressor = write_volumes(tmp_path, scans), haar_compressor(tmp_path / "c")
    read, seen = encode.load_scan, []

    def counted(path, settings):
        seen.append(path)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return read(path, settings)

    monkeypatch.setattr(encode, "load_scan", counted)
    with pytest.raises(KeyboardInterrupt):
        encode_shard(compressor, volumes, 0, 1, VOLUME, tmp_path / "z", "one")
    encode_shard(compressor, volumes, 0, 1, VOLUME, tmp_path / "z", "other")
    assert len(seen) == 2 + 2
