"""Pooling, pairs, features and what a generator is told of them, against the paper and loops."""

import itertools
import math

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from wfdm.config.features import FeatureSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.data.mean_volumes import mean_volumes, read_intensities
from wfdm.data.table import write_csv
from wfdm.data.volumes import UNIT
from wfdm.errors import UserError
from wfdm.evaluation import diversity, extraction
from wfdm.evaluation import features as feature_files
from wfdm.evaluation import pairs as sample_pairs
from wfdm.evaluation.distribution import distances
from wfdm.evaluation.pairs import draw_pairs, pairs_of
from wfdm.evaluation.reconstruction import compare
from wfdm.evaluation.synthesis import COLUMNS, synthesis_metrics
from wfdm.seeds import generator_for

SETTINGS = VolumeSettings(shape=(48, 48, 48), percentiles=(0, 100))
NETWORK = FeatureSettings(depth=10, weights=None)
BOTH = ("zscore-volume", "zscore-dataset")


@given(n=st.integers(2, 40), most=st.integers(1, 900), seed=st.integers(0, 99))
def test_pairs_are_unordered_and_different(n, most, seed):
    pairs = draw_pairs(n, most, np.random.default_rng(seed))
    assert len(set(pairs)) == len(pairs) == min(most, n * (n - 1) // 2)
    assert set(pairs) <= set(itertools.combinations(range(n), 2))


def test_every_pair_is_equally_likely():
    counts = dict.fromkeys(itertools.combinations(range(5), 2), 0)
    rng = np.random.default_rng(0)
    for _ in range(4000):
        for pair in draw_pairs(5, 2, rng):
            counts[pair] += 1
    assert max(abs(count - 800) for count in counts.values()) < 5 * math.sqrt(640)


def write_volumes(folder, modalities, seed=0):
    """Random volumes in exactly [0, 1]; T2w is brighter."""
    folder.mkdir(parents=True)
    rows = []
    for index, modality in enumerate(modalities):
        rng = np.random.default_rng(seed + index)
        volume = rng.random(SETTINGS.shape, dtype=np.float32) ** (0.2 if modality == "T2w" else 2)
        volume.flat[0], volume.flat[-1] = 0, 1
        path = folder / f"{index}.nii.gz"
        nib.save(nib.Nifti1Image(volume, np.eye(4)), path)
        key = f"A/sub-{index}_{modality}"
        rows.append({"scan_id": key, "modality": modality, "path": str(path)})
    return pd.DataFrame(rows)


def scored(folder, samples, most, shards=1, seed=1, generator="wfdm"):
    """The shards of the pairs of some samples, scored as the stage does."""
    parts = [folder / f"pairs-{shard}-of-{shards}.csv" for shard in range(shards)]
    pairs = pairs_of(samples, most, seed, generator)
    for shard, part in enumerate(parts):
        mine = sample_pairs.of_shard(pairs, shard, shards)
        write_csv(diversity.score_pairs(mine, samples, SETTINGS, part, "x"), part)
    return parts


def test_self_similarity_is_the_mean_over_all_pairs_when_few(tmp_path):
    volumes = write_volumes(tmp_path / "v", ["T1w"] * 3)
    arrays = [torch.from_numpy(nib.load(path).get_fdata(dtype=np.float32)) for path in volumes.path]
    expected = np.mean(
        [
            compare(a[None, None], b[None, None])["MS-SSIM"]
            for a, b in itertools.combinations(arrays, 2)
        ]
    )
    scores = sample_pairs.read_scores(scored(tmp_path, volumes, 5000))
    value, pairs = sample_pairs.self_similarity(scores, "T1w")
    assert pairs == 3
    assert value == pytest.approx(expected, abs=1e-6)
    value, pairs = sample_pairs.self_similarity(scores, "T2w")
    assert math.isnan(value) and pairs == 0

    twice = volumes[:2].assign(path=volumes.loc[0, "path"])
    (score,) = sample_pairs.read_scores(scored(tmp_path, twice, 10))["MS-SSIM"]
    assert score == pytest.approx(1, abs=1e-5)


@given(n=st.integers(0, 12), most=st.integers(1, 40), shards=st.integers(1, 9))
def test_shards_of_pairs_are_the_pairs_in_their_order(n, most, shards):
    names = [f"A/sub-{index:02d}" for index in range(n)]
    samples = pd.DataFrame({"scan_id": names[::-1], "modality": "T2w"})
    pairs = pairs_of(samples, most, 1, "wfdm")
    drawn = draw_pairs(n, most, generator_for(1, "diversity", "wfdm", "T2w")) if n > 1 else []
    named = [(names[first], names[second]) for first, second in drawn]
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == named
    parts = [sample_pairs.of_shard(pairs, shard, shards) for shard in range(shards)]
    assert pd.concat(parts).equals(pairs)
    assert max(map(len, parts)) <= -(-len(pairs) // shards)
    with pytest.raises(UserError, match=f"shard {shards}: there are {shards}"):
        sample_pairs.of_shard(pairs, shards, shards)


def test_scores_in_shards_are_the_scores_of_all_to_the_last_bit(tmp_path):
    samples = write_volumes(tmp_path / "v", ["T1w"] * 3 + ["T2w"] * 2 + ["FLAIR"])
    whole = sample_pairs.read_scores(scored(tmp_path, samples, 2))
    parts = sample_pairs.read_scores(scored(tmp_path, samples, 2, shards=4))  # one of them is empty
    assert list(whole["modality"]) == ["T1w"] * 2 + ["T2w"]
    assert parts.equals(whole)
    (tmp_path / "other.csv").write_text("modality,first\n")
    with pytest.raises(UserError, match=r"other\.csv: cannot be read as scores of pairs"):
        sample_pairs.read_scores([tmp_path / "other.csv"])


def test_zscore_is_unbiased_over_the_whole_volume():
    volume = torch.rand(1, 1, 6, 7, 8)
    expected = (volume.numpy() - volume.numpy().mean()) / volume.numpy().std(ddof=1)
    np.testing.assert_allclose(
        extraction.mapped(volume, "zscore-volume").numpy(), expected, atol=1e-5
    )
    by_training = extraction.mapped(volume, "zscore-dataset", (0.25, 0.5))
    np.testing.assert_allclose(by_training.numpy(), (volume.numpy() - 0.25) / 0.5, atol=1e-6)
    assert torch.equal(extraction.mapped(volume, "none"), volume)
    with pytest.raises(UserError, match="constant"):
        extraction.mapped(torch.ones(1, 1, 4, 4, 4), "zscore-volume")


def test_intensities_of_the_training_scans_are_over_all_their_voxels(tmp_path):
    volumes = write_volumes(tmp_path / "v", ["T1w", "T2w", "T1w"])
    mean_volumes(volumes, SETTINGS, tmp_path / "means.safetensors")
    found = read_intensities(tmp_path / "means.safetensors")
    arrays = [nib.load(path).get_fdata() for path in volumes["path"]]
    for name, scans in (("T1w", arrays[::2]), ("T2w", arrays[1:2]), ("all", arrays)):
        assert found[name] == pytest.approx((np.mean(scans), np.std(scans)), rel=1e-6)
    assert set(found) == {"T1w", "T2w", "all"}
    save_file({"all": np.zeros(2)}, tmp_path / "old.safetensors")
    with pytest.raises(UserError, match="tells no intensities"):
        read_intensities(tmp_path / "old.safetensors")


def test_brightness_and_contrast_are_seen_by_one_mapping_and_not_by_the_other(tmp_path):
    """A sample is 0.5 v + 0.1 of another one: a generator that gets the contrast wrong."""
    volumes = write_volumes(tmp_path / "v", ["T1w"] * 2).assign(range=UNIT)
    flat = 0.5 * nib.load(volumes.loc[0, "path"]).get_fdata(dtype=np.float32) + np.float32(0.1)
    volumes.loc[1, "path"] = str(tmp_path / "flat.nii.gz")
    nib.save(nib.Nifti1Image(flat, np.eye(4)), volumes.loc[1, "path"])
    mean_volumes(volumes[:1], SETTINGS, tmp_path / "means.safetensors")
    found = extract(volumes, tmp_path / "out.safetensors")
    first, second = found.values["zscore-volume"]
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)
    first, second = found.values["zscore-dataset"]
    assert np.abs(first - second).max() > 0.05 * np.abs(first).max()
    # Percentiles of its own, which real scans have, would hide it from both.
    hidden = extract(volumes.drop(columns="range"), tmp_path / "hidden.safetensors")
    np.testing.assert_allclose(*hidden.values["zscore-dataset"], rtol=1e-3, atol=1e-4)


def test_a_modality_without_training_scans_is_mapped_as_all_are(tmp_path):
    volumes = write_volumes(tmp_path / "v", ["T1w", "T1w", "FLAIR"])
    mean_volumes(volumes[:2], SETTINGS, tmp_path / "means.safetensors")
    as_one = volumes.assign(modality="T1w")
    found = [extract(each, tmp_path / "f.safetensors") for each in (volumes, as_one)]
    for name in BOTH:
        np.testing.assert_array_equal(found[0].values[name], found[1].values[name])


def extract(volumes, out, **changes):
    """Features of some volumes, by the intensities of the first folder of means there is."""
    means = out.parent / "means.safetensors"
    if not means.exists():
        mean_volumes(volumes, SETTINGS, means)
    arguments = {"network": NETWORK, "weights": None, "intensities": BOTH, "means": means} | changes
    return extraction.extract(volumes, settings=SETTINGS, out=out, identity="x", **arguments)


def test_features_depend_on_their_volume_alone_and_survive_the_disk(tmp_path):
    volumes = write_volumes(tmp_path / "v", ["T1w", "T2w", "T1w"])
    whole = extract(volumes, tmp_path / "whole.safetensors")
    part = extract(volumes[::-1][:1], tmp_path / "part.safetensors")
    for name in BOTH:
        np.testing.assert_array_equal(whole.values[name][2], part.values[name][0])
        assert whole.values[name].dtype == np.float32
        np.testing.assert_array_equal(whole.of("T2w", name), whole.values[name][1:2])
    np.testing.assert_array_equal(whole.of("T2w"), whole.of("T2w", "zscore-volume"))
    read = feature_files.read_features([tmp_path / "whole.safetensors"])
    assert read.scan_ids == tuple(volumes["scan_id"])
    assert read.source == whole.source and read.intensities == BOTH
    for name in BOTH:
        np.testing.assert_array_equal(read.values[name], whole.values[name])
    extract(volumes, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "whole.safetensors"
    ).read_bytes()


def test_shards_of_features_are_read_as_one(tmp_path):
    volumes = write_volumes(tmp_path / "v", ["T1w", "T2w", "T1w"])
    whole = extract(volumes, tmp_path / "whole.safetensors")
    parts = [tmp_path / "0.safetensors", tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    for path, rows in zip(parts, (volumes[2:], volumes[:0], volumes[:2]), strict=True):
        extract(rows, path)
    read = feature_files.read_features(parts)
    for name in BOTH:
        np.testing.assert_array_equal(read.values[name], whole.values[name])
    assert (read.scan_ids, read.modalities) == (whole.scan_ids, whole.modalities)
    with pytest.raises(UserError, match="no volume to extract features from"):
        feature_files.read_features(parts[1:2])


def features_of(modalities, seed):
    """Features of as many scans, drawn rather than extracted."""
    rng = np.random.default_rng(seed)
    return feature_files.Features(
        {name: rng.normal(0.2 * seed, 1, (len(modalities), 12)).astype("f4") for name in BOTH},
        tuple(f"A/sub-{number:02d}" for number in range(len(modalities))),
        *(tuple(modalities) for _ in range(2)),
        extractor="drawn",
        digest="0" * 64,
    )


def judged(folder, real, made, pairs=(), resamples=200):
    """The metrics of features."""
    files = [folder / "real.safetensors"], [folder / "made.safetensors"]
    for each, (path,) in zip((real, made), files, strict=True):
        feature_files.write(each, path)
    if not pairs:
        pairs = [folder / "no-pairs.csv"]
        pairs[0].write_text("modality,first,second,MS-SSIM\n")
    return synthesis_metrics(*files, pairs, 1, resamples).set_index("modality")


def test_a_generator_is_judged_per_modality_and_for_all(tmp_path):
    real = write_volumes(tmp_path / "real", ["T1w"] * 3 + ["T2w"] * 2 + ["FLAIR"])
    made = write_volumes(tmp_path / "made", list(real["modality"]), seed=50)
    made.loc[0, "path"] = made.loc[3, "path"]  # a T1w request answered with a T2w volume
    mean_volumes(real[:5], SETTINGS, tmp_path / "means.safetensors")
    truth, fake = (extract(rows, tmp_path / "features") for rows in (real, made))
    pairs = scored(tmp_path, made, 2, shards=2)
    table, scores = judged(tmp_path, truth, fake, pairs), sample_pairs.read_scores(pairs)
    assert tuple(table.reset_index().columns) == COLUMNS
    assert list(table.index) == ["T1w", "T2w", "FLAIR", "Overall", "All together"]
    assert list(table["n_real"]) == list(table["n_synthetic"]) == [3, 2, 1, 6, 6]
    found = distances(fake.of("T1w"), truth.of("T1w"))
    names = ["FID", "MMD", "MMD fixed", "KID"]
    assert list(table.loc["T1w", names]) == [found.fid, found.mmd, found.mmd_fixed, found.kid]
    other = distances(fake.of("T1w", BOTH[1]), truth.of("T1w", BOTH[1]))
    assert table.loc["T1w", "FID zscore-dataset"] == other.fid != found.fid
    assert table.loc["T1w", "MMD zscore-dataset"] == other.mmd
    assert list(table["pairs"]) == [2, 1, 0, 3, 0]
    assert math.isnan(table.loc["FLAIR", "FID"]) and "FID" in table.loc["FLAIR", "note"]
    assert "FLAIR" in table.loc["Overall", "note"]
    for name in (*names, "FID zscore-dataset"):
        expected = (3 * table.loc["T1w", name] + 2 * table.loc["T2w", name]) / 5
        assert table.loc["Overall", name] == pytest.approx(expected)
    assert table.loc["T1w", "MS-SSIM"] == np.mean(scores.loc[scores.modality == "T1w", "MS-SSIM"])
    # FLAIR has no class mean, so its one sample cannot be recognised.
    assert list(table["recognised"]) == pytest.approx([2 / 3, 1, 0, 4 / 6, 4 / 6])
    assert set(table["extractor_sha256"]) == {truth.digest}
    assert (
        table[["FID low", "FID high", "MMD low", "MMD high"]].loc["T1w":"Overall"].isna().all(None)
    )
    assert table.loc["T1w", "note"] == "intervals need 5"

    first, second = (each.values[BOTH[0]].astype(float) for each in (fake, truth))
    assert table.loc["All together", "FID"] == pytest.approx(distances(first, second).fid)
    assert table.loc["All together", "FID low"] < table.loc["All together", "FID"]


def test_intervals_of_all_modalities_are_of_their_pooled_resamples(tmp_path):
    modalities = ["T1w"] * 30 + ["T2w"] * 20
    real, made = features_of(modalities, 1), features_of(modalities, 2)
    table = judged(tmp_path, real, made)
    low, value, high = (table[name].astype(float) for name in ("FID low", "FID", "FID high"))
    assert (low < value).all() and (value < high).all() and (table["note"] == "").all()
    # Modalities are resampled each for itself: not their errors add up, but the squares of these.
    widths = (high - low) * [30 / 50, 20 / 50, 1, 0]
    expected = math.hypot(widths["T1w"], widths["T2w"])
    assert widths["Overall"] == pytest.approx(expected, rel=0.15)
    none = judged(tmp_path, real, made, resamples=0)
    assert none["FID low"].isna().all() and (none["note"] == "").all()


def test_what_one_side_lacks_is_left_out_of_all_together(tmp_path):
    real, made = features_of(["T1w"] * 3 + ["FLAIR"] * 2, 1), features_of(["T1w"] * 3, 2)
    table = judged(tmp_path, real, made)
    assert list(table["n_real"]) == [3, 2, 5, 3]
    assert table.loc["All together", "FID"] == table.loc["T1w", "FID"]
    assert "without FLAIR" in table.loc["All together", "note"]
    nothing = judged(tmp_path, features_of(["FLAIR"] * 2, 1), made)
    assert nothing.loc["All together", "n_real"] == 0 and nothing["FID"].isna().all()


def test_pairs_do_not_depend_on_other_generators_or_modalities():
    draws = [
        generator_for(1, "diversity", name, modality).random()
        for name in ("wfdm", "noise")
        for modality in ("T1w", "T2w")
    ]
    assert len(set(draws)) == 4


def test_features_of_different_networks_are_refused(tmp_path):
    volumes = write_volumes(tmp_path / "v", ["T1w"] * 2)
    a, b = (tmp_path / f"{name}.safetensors" for name in "ab")
    extract(volumes, a)
    pairs = scored(tmp_path, volumes, 10)
    for change in (
        {"network": FeatureSettings(depth=10, weights=None, seed=9)},
        {"intensities": ["none"]},
    ):
        extract(volumes, b, **change)
        with pytest.raises(UserError, match="extract both again"):
            synthesis_metrics([a], [b], pairs, 1, 0)
    others = volumes.assign(scan_id=["A/sub-8_T1w", "A/sub-9_T1w"])
    with pytest.raises(UserError, match="other samples"):
        synthesis_metrics([a], [a], scored(tmp_path, others, 10), 1, 0)
