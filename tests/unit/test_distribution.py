"""FID, MMD, pooling, pairs and features against closed forms, loops and the paper's numbers."""

import itertools
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfdm.config.features import FeatureSettings
from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import write_csv
from wfdm.errors import UserError
from wfdm.evaluation import diversity
from wfdm.evaluation import features as feature_files
from wfdm.evaluation.distribution import distances, pooled
from wfdm.evaluation.diversity import draw_pairs, pairs_of
from wfdm.evaluation.mean_volumes import mean_volumes
from wfdm.evaluation.reconstruction import compare
from wfdm.evaluation.synthesis import synthesis_metrics
from wfdm.seeds import generator_for
from wfdm.tables.published import read_published

PUBLISHED = Path(__file__).parents[2] / "config" / "published"
SETTINGS = VolumeSettings(shape=(48, 48, 48), percentiles=(0, 100))
NETWORK = FeatureSettings(depth=10, weights=None)
# Rounding of the printed parts and of the printed whole: one unit of the whole's last place.
LAST_PLACE = {"FID": 1e-7, "MMD": 1e-6, "MS-SSIM": 1e-6}
TEST_SCANS = {"T1w": 3414, "T2w": 867, "T1Gd": 297, "FLAIR": 815}


def with_moments(n, mean, deviations, seed):
    """Samples whose mean and (diagonal) unbiased covariance are exactly as given."""
    raw = np.random.default_rng(seed).normal(size=(n, len(mean)))
    orthonormal, _ = np.linalg.qr(raw - raw.mean(0))
    return orthonormal * math.sqrt(n - 1) * deviations + mean


def test_fid_of_diagonal_gaussians():
    mean_a, sd_a = np.array([0.0, 1.0, 2.0, 5.0]), np.array([1.0, 0.5, 2.0, 0.1])
    mean_b, sd_b = np.array([0.5, 1.0, 1.0, 5.5]), np.array([0.7, 0.5, 1.0, 0.3])
    fid, _ = distances(with_moments(40, mean_a, sd_a, 1), with_moments(60, mean_b, sd_b, 2))
    assert fid == pytest.approx(((mean_a - mean_b) ** 2).sum() + ((sd_a - sd_b) ** 2).sum())


def test_fid_of_few_scans_in_many_dimensions():
    # Fewer rows than columns, as in every modality of the paper but T1w: here the trace of
    # the root is the nuclear norm of the product of the centred matrices.
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(6, 64)), rng.normal(1, 2, size=(9, 64))
    x, y = (a - a.mean(0)) / math.sqrt(5), (b - b.mean(0)) / math.sqrt(8)
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * root
    assert distances(a, b)[0] == pytest.approx(expected, rel=1e-6)


def test_identical_sets_are_at_no_distance():
    same = np.random.default_rng(3).normal(size=(20, 8))
    fid, mmd = distances(same, same.copy())
    assert fid == pytest.approx(0, abs=1e-6)
    assert mmd == 0


def naive_mmd(x, y):
    both = np.concatenate([x, y])
    gaps = sorted(math.dist(p, q) for p, q in itertools.combinations(both, 2))
    median = gaps[(len(gaps) - 1) // 2]
    widths = [median * 2.0**power for power in range(-3, 4)]

    def kernel(p, q):
        return sum(math.exp(-(math.dist(p, q) ** 2) / (2 * w * w)) for w in widths) / 7

    def within(z):
        return sum(kernel(p, q) for p, q in itertools.permutations(z, 2)) / (len(z) * (len(z) - 1))

    across = sum(kernel(p, q) for p in x for q in y) / (len(x) * len(y))
    return math.sqrt(max(within(x) + within(y) - 2 * across, 0))


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_mmd_equals_the_sum_over_pairs(offset):
    rng = np.random.default_rng(7)
    x = rng.normal(offset, 0.01, size=(9, 5))
    y = rng.normal(offset + 0.01, 0.01, size=(12, 5))
    assert naive_mmd(x, y) > 0.1
    assert distances(x, y)[1] == pytest.approx(naive_mmd(x, y), rel=1e-6)


def test_one_scan_has_no_distribution():
    one, many = np.zeros((1, 4)), np.random.default_rng(0).normal(size=(5, 4))
    assert all(
        math.isnan(value) for pair in ((one, many), (many, one)) for value in distances(*pair)
    )


@pytest.mark.parametrize("model", ["WFDM", "MAISI", "Med-DDPM"])
@pytest.mark.parametrize("metric", ["FID", "MMD", "MS-SSIM"])
def test_pooling_reproduces_table_4_from_tables_12_to_15(model, metric):
    per_modality = [
        read_published(PUBLISHED / f"table{number}.csv").set_index("Model")
        for number in range(12, 16)
    ]
    values = [float(table.loc[model, metric]) for table in per_modality]
    overall = read_published(PUBLISHED / "table4.csv").set_index("Model").loc[model, metric]
    assert pooled(values, list(TEST_SCANS.values())) == pytest.approx(
        float(overall), abs=LAST_PLACE[metric]
    )


@pytest.mark.parametrize("row", range(4))
def test_pooling_reproduces_table_5_from_tables_16_to_19(row):
    numbers = {"T1w": 16, "T1Gd": 17, "T2w": 18, "FLAIR": 19}
    overall = read_published(PUBLISHED / "table5.csv").iloc[row]
    for metric in ("FID", "MMD", "MS-SSIM"):
        values = [
            float(read_published(PUBLISHED / f"table{numbers[modality]}.csv").iloc[row][metric])
            for modality in TEST_SCANS
        ]
        expected = float(overall[f"Overall {metric}"])
        assert pooled(values, list(TEST_SCANS.values())) == pytest.approx(
            expected, abs=LAST_PLACE[metric]
        )


def test_pooling_leaves_undefined_values_out():
    assert pooled([1.0, math.nan, 4.0], [1, 100, 2]) == pytest.approx(3.0)
    assert math.isnan(pooled([math.nan], [3]))
    assert math.isnan(pooled([1.0], [0]))


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
        mine = diversity.of_shard(pairs, shard, shards)
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
    scores = diversity.read_scores(scored(tmp_path, volumes, 5000))
    value, pairs = diversity.self_similarity(scores, "T1w")
    assert pairs == 3
    assert value == pytest.approx(expected, abs=1e-6)
    value, pairs = diversity.self_similarity(scores, "T2w")
    assert math.isnan(value) and pairs == 0

    twice = volumes[:2].assign(path=volumes.loc[0, "path"])
    (score,) = diversity.read_scores(scored(tmp_path, twice, 10))["MS-SSIM"]
    assert score == pytest.approx(1, abs=1e-5)


@given(n=st.integers(0, 12), most=st.integers(1, 40), shards=st.integers(1, 9))
def test_shards_of_pairs_are_the_pairs_in_their_order(n, most, shards):
    names = [f"A/sub-{index:02d}" for index in range(n)]
    samples = pd.DataFrame({"scan_id": names[::-1], "modality": "T2w"})
    pairs = pairs_of(samples, most, 1, "wfdm")
    drawn = draw_pairs(n, most, generator_for(1, "diversity", "wfdm", "T2w")) if n > 1 else []
    named = [(names[first], names[second]) for first, second in drawn]
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == named
    parts = [diversity.of_shard(pairs, shard, shards) for shard in range(shards)]
    assert pd.concat(parts).equals(pairs)
    assert max(map(len, parts)) <= -(-len(pairs) // shards)
    with pytest.raises(UserError, match=f"shard {shards}: there are {shards}"):
        diversity.of_shard(pairs, shards, shards)


def test_scores_in_shards_are_the_scores_of_all_to_the_last_bit(tmp_path):
    samples = write_volumes(tmp_path / "v", ["T1w"] * 3 + ["T2w"] * 2 + ["FLAIR"])
    whole = diversity.read_scores(scored(tmp_path, samples, 2))
    parts = diversity.read_scores(scored(tmp_path, samples, 2, shards=4))  # one of them is empty
    assert list(whole["modality"]) == ["T1w"] * 2 + ["T2w"]
    assert parts.equals(whole)
    (tmp_path / "other.csv").write_text("modality,first\n")
    with pytest.raises(UserError, match=r"other\.csv: cannot be read as scores of pairs"):
        diversity.read_scores([tmp_path / "other.csv"])


def test_zscore_is_unbiased_over_the_whole_volume():
    volume = torch.rand(1, 1, 6, 7, 8)
    expected = (volume.numpy() - volume.numpy().mean()) / volume.numpy().std(ddof=1)
    np.testing.assert_allclose(
        feature_files.mapped(volume, "zscore-volume").numpy(), expected, atol=1e-5
    )
    assert torch.equal(feature_files.mapped(volume, "none"), volume)
    with pytest.raises(UserError, match="constant"):
        feature_files.mapped(torch.ones(1, 1, 4, 4, 4), "zscore-volume")


def extract(volumes, out, **changes):
    arguments = {"network": NETWORK, "weights": None, "intensity": "zscore-volume"} | changes
    return feature_files.extract(volumes, settings=SETTINGS, out=out, identity="x", **arguments)


def test_features_depend_on_their_volume_alone_and_survive_the_disk(tmp_path):
    volumes = write_volumes(tmp_path / "v", ["T1w", "T2w", "T1w"])
    whole = extract(volumes, tmp_path / "whole.safetensors")
    part = extract(volumes[::-1][:1], tmp_path / "part.safetensors")
    np.testing.assert_array_equal(whole.values[2], part.values[0])
    assert whole.values.dtype == np.float32
    assert whole.of("T2w").shape == (1, whole.values.shape[1])
    read = feature_files.read_features([tmp_path / "whole.safetensors"])
    np.testing.assert_array_equal(read.values, whole.values)
    assert read.scan_ids == tuple(volumes["scan_id"])
    assert (read.extractor, read.digest) == (whole.extractor, whole.digest)
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
    np.testing.assert_array_equal(read.values, whole.values)
    assert (read.scan_ids, read.modalities) == (whole.scan_ids, whole.modalities)
    with pytest.raises(UserError, match="no volume to extract features from"):
        feature_files.read_features(parts[1:2])


def test_a_generator_is_judged_per_modality_and_overall(tmp_path):
    real = write_volumes(tmp_path / "real", ["T1w"] * 3 + ["T2w"] * 2 + ["FLAIR"])
    made = write_volumes(tmp_path / "made", list(real["modality"]), seed=50)
    made.loc[0, "path"] = made.loc[3, "path"]  # a T1w request answered with a T2w volume
    mean_volumes(real[:5], SETTINGS, tmp_path / "means.safetensors")
    truth = extract(real, tmp_path / "real.safetensors")
    fake = extract(made, tmp_path / "made.safetensors", means=tmp_path / "means.safetensors")
    pairs = scored(tmp_path, made, 2, shards=2)
    table = synthesis_metrics(
        [tmp_path / "real.safetensors"], [tmp_path / "made.safetensors"], pairs, seed=1
    ).set_index("modality")
    assert list(table.index) == ["T1w", "T2w", "FLAIR", "Overall"]
    assert list(table["n_real"]) == list(table["n_synthetic"]) == [3, 2, 1, 6]
    fid, mmd = distances(fake.of("T1w"), truth.of("T1w"))
    assert (table.loc["T1w", "FID"], table.loc["T1w", "MMD"]) == (fid, mmd)
    assert list(table["pairs"]) == [2, 1, 0, 3]
    assert math.isnan(table.loc["FLAIR", "FID"]) and "FID" in table.loc["FLAIR", "note"]
    assert "FLAIR" in table.loc["Overall", "note"]
    expected = (3 * table.loc["T1w", "FID"] + 2 * table.loc["T2w", "FID"]) / 5
    assert table.loc["Overall", "FID"] == pytest.approx(expected)
    scores = diversity.read_scores(pairs)
    assert table.loc["T1w", "MS-SSIM"] == np.mean(scores.loc[scores.modality == "T1w", "MS-SSIM"])
    # FLAIR has no class mean, so its one sample cannot be recognised.
    assert list(table["recognised"]) == pytest.approx([2 / 3, 1, 0, 4 / 6])
    assert set(table["extractor_sha256"]) == {truth.digest}


def test_pairs_do_not_depend_on_other_generators_or_modalities():
    draws = [
        generator_for(1, "diversity", name, modality).random()
        for name in ("wfdm", "noise")
        for modality in ("T1w", "T2w")
    ]
    assert len(set(draws)) == 4


def test_features_of_different_networks_are_refused(tmp_path):
    volumes = write_volumes(tmp_path / "v", ["T1w"] * 2)
    mean_volumes(volumes, SETTINGS, tmp_path / "means.safetensors")
    a, b, c = (tmp_path / f"{name}.safetensors" for name in "abc")
    extract(volumes, a, means=tmp_path / "means.safetensors")
    extract(volumes, b, network=FeatureSettings(depth=10, weights=None, seed=9))
    extract(volumes, c)
    pairs = scored(tmp_path, volumes, 10)
    with pytest.raises(UserError, match="extract both again"):
        synthesis_metrics([a], [b], pairs, 1)
    with pytest.raises(UserError, match="made without mean volumes"):
        synthesis_metrics([a], [c], pairs, 1)
    others = volumes.assign(scan_id=["A/sub-8_T1w", "A/sub-9_T1w"])
    with pytest.raises(UserError, match="other samples"):
        synthesis_metrics([a], [a], scored(tmp_path, others, 10), 1)
