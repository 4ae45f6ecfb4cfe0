"""Near-duplicates: a scan's altered copy is found, other people's scans are not."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from wfdm.config.volumes import VolumeSettings
from wfdm.data.near_duplicates import FEWEST, describe_shard, find_pairs, read_shards
from wfdm.errors import UserError

SHAPE = (48, 56, 40)
SETTINGS = VolumeSettings(shape=SHAPE)


def brain(seed: int) -> np.ndarray:
    """A smooth random texture in one ellipsoid: what all share, and what is a person's own."""
    grid = np.indices(SHAPE) - (np.array(SHAPE) / 2)[:, None, None, None]
    inside = (grid / (np.array(SHAPE) * 0.42)[:, None, None, None]) ** 2
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 4)
    return (inside.sum(0) < 1) * (1 + 0.3 * texture / texture.std())


def altered(volume: np.ndarray, seed: int) -> np.ndarray:
    """Another registration and noise of one scan."""
    turned = ndimage.rotate(volume, 1.0, axes=(0, 1), reshape=False, order=1)
    moved = ndimage.shift(turned, (0.4, -0.3, 0.2), order=1)
    noise = np.random.default_rng(seed).normal(0, 0.02, SHAPE)
    return moved + noise * (moved > 0.05)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> pd.DataFrame:
    """25 people, an altered copy of the first, a second session of the second, 2 equal FLAIRs."""
    folder = tmp_path_factory.mktemp("volumes")
    volumes = {f"A/sub-{i:02d}_T1w": brain(i) for i in range(25)}
    volumes["B/sub-x_T1w"] = altered(brain(0), 100)
    volumes["A/sub-01_ses-2_T1w"] = altered(brain(1), 101)
    volumes["A/sub-00_FLAIR"] = volumes["B/sub-x_FLAIR"] = brain(50)
    rows = []
    for key, volume in volumes.items():
        path = folder / f"{key.replace('/', '_')}.nii.gz"
        nib.save(nib.Nifti1Image(volume.astype(np.float32), np.eye(4)), path)
        rows.append((key, key.rsplit("_")[-1], str(path), str(hash(volume.tobytes()))))
    return pd.DataFrame(rows, columns=["scan_id", "modality", "path", "sha256"])


def person(scan_id: str) -> str:
    return scan_id.split("_")[0]


def pairs(cohort, folder, shards):
    paths = [folder / f"shard-{shard:04d}.npy" for shard in range(shards)]
    counts = [
        describe_shard(cohort, shard, shards, SETTINGS, path) for shard, path in enumerate(paths)
    ]
    assert sum(counts) == len(cohort)
    keys, coefficients = read_shards(paths)
    persons = {key: person(key) for key in keys["scan_id"]}
    return find_pairs(keys, coefficients, persons, 0.25)


def test_copies_are_found_and_nobody_else(cohort, tmp_path):
    found, notes = pairs(cohort, tmp_path, 1)
    near = list(zip(found["scan_a"], found["scan_b"], strict=True))
    assert near == [("A/sub-00_FLAIR", "B/sub-x_FLAIR"), ("A/sub-00_T1w", "B/sub-x_T1w")]
    assert found["distance"].iloc[0] == "0.000"
    assert notes == [f"FLAIR: 2 scans, fewer than {FEWEST}: not compared"]


def test_shards_change_nothing(cohort, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "three").mkdir()
    one, _ = pairs(cohort, tmp_path / "one", 1)
    three, _ = pairs(cohort.iloc[::-1], tmp_path / "three", 3)
    pd.testing.assert_frame_equal(one, three)


def test_distance_is_the_share_of_differing_bits():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(100, 999)).astype(np.float32)
    keys = pd.DataFrame(
        {"scan_id": [f"A/sub-{i:03d}_T1w" for i in range(100)], "modality": "T1w", "sha256": ""}
    )
    persons = {key: key for key in keys["scan_id"]}
    found, _ = find_pairs(keys, values, persons, 1.0)
    bits = values > np.median(values, axis=0)
    assert len(found) == 100 * 99 // 2
    for row in found.sample(20, random_state=0).to_dict("records"):
        a, b = (int(row[name][6:9]) for name in ("scan_a", "scan_b"))
        assert float(row["distance"]) == pytest.approx((bits[a] != bits[b]).mean(), abs=5e-4)


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(UserError, match=r"shard-0000\.npy: is missing"):
        read_shards([tmp_path / "shard-0000.npy"])
