"""Completed scans against the real ones: metrics inside masks, floors, table A1, figure A1."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.unit.completion_study import cohort, lay_out, make, regress
from tests.unit.stage_b import SPACING, VOLUME
from wfdm.data.table import MODALITIES, read_table, write_table
from wfdm.data.volumes import load_standardised, model_affine, write_nifti
from wfdm.errors import UserError
from wfdm.evaluation.completion import Truth
from wfdm.evaluation.completion_columns import (
    COLUMNS,
    COMPLETED,
    MEAN,
    NEAREST,
    RECONSTRUCTED,
    UNET,
)
from wfdm.evaluation.decoded import Decoded
from wfdm.evaluation.inside import inside
from wfdm.evaluation.nearest import Nearest
from wfdm.figures.completions import figure_a1
from wfdm.latents.cache import Latents
from wfdm.latents.compressor import load_compressor
from wfdm.stages import completion_metrics
from wfdm.stages import figure_a1 as figure_stage
from wfdm.tables.table_a1 import table_a1


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("study"), steps=1)
    lay_out(root)
    return root


def similarity(made: np.ndarray, real: np.ndarray, place: tuple[int, ...]) -> float:
    """SSIM about one voxel (Wang et al. 2004), by its definition; zero beyond the volume."""
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.einsum("i,j,k->ijk", line, line, line)
    weights /= weights.sum()
    here = tuple(slice(each, each + 11) for each in place)
    x, y = (np.pad(each.astype(np.float64), 5)[here] for each in (made, real))
    mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
    variances = sum((weights * each**2).sum() for each in (x, y)) - mean_x**2 - mean_y**2
    covariance = (weights * x * y).sum() - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    return float(
        (2 * mean_x * mean_y + c1)
        * (2 * covariance + c2)
        / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))
    )


def test_metrics_count_the_voxels_inside_alone() -> None:
    """PSNR and MSE are NumPy's, of the voxels inside; SSIM the mean of its local values there."""
    rng = np.random.default_rng(0)
    real, made = rng.random((2, 20, 18, 16), np.float32)
    made = 0.7 * real + 0.3 * made
    mask = np.zeros(real.shape, bool)
    mask[7:10, 6:9, 0:3] = True  # also at the volume's border
    outside = np.where(mask, made, 0)
    tensors = [torch.from_numpy(each)[None, None] for each in (made, real, outside)]
    masks = {"some": torch.from_numpy(mask), "all": torch.ones(real.shape, dtype=torch.bool)}
    found = inside(tensors[0], tensors[1], masks)
    mse = float(np.square(made - real, dtype=np.float64)[mask].mean())
    assert found["some"]["MSE"] == pytest.approx(mse)
    assert found["some"]["PSNR"] == pytest.approx(-10 * np.log10(mse))
    local = [similarity(made, real, place) for place in map(tuple, np.argwhere(mask))]
    assert found["some"]["SSIM"] == pytest.approx(np.mean(local), abs=1e-5)
    assert inside(tensors[2], tensors[1], masks)["some"]["MSE"] == found["some"]["MSE"]
    same = inside(tensors[1], tensors[1], masks)["all"]
    assert same["MSE"] == 0 and same["PSNR"] == np.inf
    assert same["SSIM"] == pytest.approx(1, abs=1e-6)


def test_the_nearest_session_is_nearest_in_all_sources(study: Path) -> None:
    """Against a search by hand; where no session has sources and target, there is none."""
    cache, scans = Latents(study / "latents"), cohort()

    def session(subject: str) -> dict[str, str]:
        of = scans[scans["subject"] == subject]
        return dict(zip(of["modality"], of["scan_id"], strict=True))

    training = [session(subject) for subject in ("00", "01", "02")]
    asking = {"x": session("05")}
    nearest = Nearest(cache, training, asking)
    for sources, target in ((("T1w",), "T2w"), (("T1w", "T1Gd"), "FLAIR"), (("FLAIR",), "T1w")):
        distances = {
            each[target]: sum(
                np.square(
                    cache.scaled_mean(each[name]) - cache.scaled_mean(asking["x"][name])
                ).sum()
                for name in sources
            )
            for each in training
            if target in each and set(sources) <= set(each)
        }
        assert nearest.scan("x", sources, target) == min(distances, key=distances.__getitem__)
    few = Nearest(cache, [session("02")], asking)
    assert few.scan("x", ["T1w"], "FLAIR") == "ALPHA/sub-02_FLAIR"
    assert few.scan("x", ["T1w", "T2w"], "FLAIR") is None
    assert few.scan("x", ["T1w"], "T2w") is None
    assert Nearest(cache, [], asking).scan("x", ["T1w"], "T2w") is None


def completions(study: Path, folder: Path) -> Path:
    """A table of made-up completions of two sessions: the real scan, and half of it."""
    rows = []
    for scan_id, modality, sources, share in (
        ("ALPHA/sub-05_T2w", "T2w", "T1w", 0.5),
        ("ALPHA/sub-05_T2w", "T2w", "T1w+FLAIR", 1.0),
        ("ALPHA/sub-06_T2w", "T2w", "T1w", 0.8),
    ):
        volumes = read_table(study / "preprocessed/volumes.tsv").set_index("scan_id")["path"]
        volume = share * load_standardised(volumes[scan_id], VOLUME)[0]
        path = folder / f"{len(rows)}.nii.gz"
        write_nifti(path, volume.astype(np.float32), model_affine(VOLUME.shape, SPACING))
        rows.append((scan_id, modality, str(path), sources, "unit"))
    table = folder / "made.tsv"
    write_table(pd.DataFrame(rows, columns="scan_id modality path sources range".split()), table)
    return table


def measured(
    study: Path, folder: Path, lesions: Path | None = None, unet: Path | None = None
) -> Path:
    settings = {"volume": VOLUME.model_dump(), "lesions": str(lesions) if lesions else None}
    out = folder / "metrics.csv"
    completion_metrics.run(
        completion_metrics.Settings.parse(json.dumps(settings)),
        completions(study, folder),
        study / "latents" / "scale.json",
        study / "means.safetensors",
        study / "preprocessed" / "volumes.tsv",
        study / "splits.tsv",
        out,
        unet=unet,
    )
    return out


def lesion(folder: Path, *corner: int) -> Path:
    """A lesion of one session, 2 voxels a side."""
    mask = np.zeros(VOLUME.shape, np.uint8)
    mask[tuple(slice(first, first + 2) for first in corner)] = 1
    path = folder / "lesions" / "ALPHA" / "sub-05_lesion.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, mask, model_affine(VOLUME.shape, SPACING))
    return folder / "lesions"


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_contrast_has_the_mask_of_its_session(study: Path, modality: str) -> None:
    paths = read_table(study / "preprocessed/volumes.tsv").set_index("scan_id")["path"]
    nearest = Nearest(Latents(study / "latents"), [], {})
    decoded = Decoded.of(study / "latents", None, "cpu")
    truth = Truth(paths.to_dict(), {}, nearest, decoded, None, VOLUME)
    (mask,) = truth.masks(f"ALPHA/sub-05_{modality}").values()
    assert mask.sum() == 10**3


def test_each_completion_stands_beside_the_floors(study: Path, tmp_path: Path) -> None:
    found = pd.read_csv(measured(study, tmp_path, lesion(tmp_path, 5, 5, 5)))
    assert tuple(found.columns) == COLUMNS
    methods = dict.fromkeys((COMPLETED, NEAREST, MEAN, RECONSTRUCTED), 3)
    assert found.groupby("method").size().to_dict() == methods
    volumes = read_table(study / "preprocessed/volumes.tsv").set_index("scan_id")["path"]
    real = load_standardised(volumes["ALPHA/sub-05_T2w"], VOLUME)[0].astype(np.float64)
    own = found[(found["scan_id"] == "ALPHA/sub-05_T2w") & (found["method"] == COMPLETED)]
    half, whole = own.to_dict("records")
    assert half["brain MSE"] == pytest.approx(0.25 * np.square(real[3:13, 3:13, 3:13]).mean())
    assert half["lesion MSE"] == pytest.approx(0.25 * np.square(real[5:7, 5:7, 5:7]).mean())
    assert whole["brain MSE"] == 0 and whole["brain SSIM"] == pytest.approx(1, abs=1e-6)
    other = found[found["scan_id"] == "ALPHA/sub-06_T2w"]
    assert other["lesion MSE"].isna().all() and other["brain MSE"].notna().all()
    means = found[(found["method"] == MEAN) & (found["scan_id"] == "ALPHA/sub-05_T2w")]
    assert means["brain MSE"].nunique() == 1  # it looks at no source


def test_the_ceiling_is_the_scan_through_the_compressor(study: Path, tmp_path: Path) -> None:
    """Decoded by hand from the cached latent; it looks at no source."""
    found = pd.read_csv(measured(study, tmp_path))
    cache = Latents(study / "latents")
    latent = torch.from_numpy(cache.scaled_mean("ALPHA/sub-05_T2w"))[None] / cache.space.scale
    with torch.no_grad():
        decoded = load_compressor(cache.space).decode(latent)[0, 0].clamp(0, 1).double().numpy()
    volumes = read_table(study / "preprocessed/volumes.tsv").set_index("scan_id")["path"]
    real = load_standardised(volumes["ALPHA/sub-05_T2w"], VOLUME)[0].astype(np.float64)
    mse = np.square(decoded - real)[3:13, 3:13, 3:13].mean()
    own = found[(found["scan_id"] == "ALPHA/sub-05_T2w") & (found["method"] == RECONSTRUCTED)]
    assert list(own["brain MSE"]) == pytest.approx([mse, mse], rel=1e-5)


def test_a_plain_unet_stands_below_where_one_was_trained(study: Path, tmp_path: Path) -> None:
    unet = regress(study, tmp_path / "unet")
    found = pd.read_csv(file := measured(study, tmp_path, unet=unet / "model.safetensors"))
    own = found[(found["method"] == UNET) & (found["scan_id"] == "ALPHA/sub-05_T2w")]
    assert own["brain MSE"].nunique() == 2  # of two source sets
    table = table_a1({"branch": file}, {"branch": "WFDM, completing"})
    assert table["Method"][1] == "U-Net on the steps of WFDM, completing (floor)"
    assert list(table["n"][:2]) == ["2", "2"]


def test_masks_that_are_missing_or_elsewhere_are_told(study: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    mask = np.zeros((40, 40, 40), np.uint8)
    mask[0, 0, 0] = 1
    path = far / "ALPHA" / "sub-05_lesion.nii.gz"
    path.parent.mkdir(parents=True)
    write_nifti(path, mask, model_affine((40, 40, 40), SPACING))
    with pytest.raises(UserError, match=r"sub-05_lesion.nii.gz: nothing of it lies in"):
        measured(study, tmp_path, far)
    brain = study / "preprocessed/ALPHA/sub-06/anat/sub-06_space-SRI24_desc-brain_mask.nii.gz"
    brain.rename(away := brain.with_name("away.nii.gz"))
    try:
        with pytest.raises(UserError, match="has no brain mask beside it"):
            measured(study, tmp_path)
    finally:
        away.rename(brain)


def test_the_table_has_targets_sources_and_floors(study: Path, tmp_path: Path) -> None:
    file = measured(study, tmp_path, lesion(tmp_path, 5, 5, 5))
    table = table_a1({"branch": file}, {"branch": "WFDM, completing"})
    assert list(zip(table["Target"], table["Sources"], strict=True)) == (
        [("T2w", "T1w")] * 4 + [("T2w", "T1w + FLAIR")] * 4
    )
    assert list(table["Method"][:4]) == [
        "WFDM, completing",
        "Nearest training session's scan (floor)",
        "Mean training volume of the modality (floor)",
        "The scan itself through the compressor (ceiling)",
    ]
    rows = pd.read_csv(file)
    own = rows[(rows["method"] == COMPLETED) & (rows["sources"] == "T1w")]
    assert table["Brain MSE"][0] == f"{own['brain MSE'].mean():.6f}"
    assert table["Lesion MSE"][0] == f"{own['lesion MSE'].dropna().iloc[0]:.6f}"
    assert list(table["n"]) == ["2"] * 4 + ["1"] * 4
    assert list(table["n lesions"]) == ["1"] * 8
    assert table["Brain PSNR"][4] == "inf"


def test_the_figure_shows_what_differs(study: Path, tmp_path: Path) -> None:
    settings = {"seed": 7, "volume": VOLUME.model_dump(), "dpi": 50}
    made = completions(study, tmp_path)
    volumes = study / "preprocessed" / "volumes.tsv"
    parsed = figure_stage.Settings.parse(json.dumps(settings))
    for name in ("one", "two"):
        figure_stage.run(parsed, [f"branch={made}"], volumes, tmp_path / f"{name}.pdf")
    for kind in ("pdf", "png"):
        first, second = (tmp_path / f"{name}.{kind}" for name in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
    nothing = read_table(made).iloc[:0]
    with pytest.raises(UserError, match="no test session has two modalities"):
        figure_a1({"branch": nothing}, read_table(volumes), VOLUME, 7, tmp_path / "x", 50)
