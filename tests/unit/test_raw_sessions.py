"""One session of real patient MRI, where this machine has it beside the checkout."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.necks import Study
from wfdm.config.preprocess import HdBetSettings, PreprocessSettings
from wfdm.data.grid import sri24_grid
from wfdm.preprocess.extraction.extractors import Resources
from wfdm.preprocess.session import preprocess_session

ROOT = Path(__file__).parents[2]
RAW = ROOT.parent / "shared" / "data" / "raw"
WEIGHTS = ROOT / "resources" / "assets" / "hd-bet-0.model"
ONE_FOLD = HdBetSettings(folds=[0], mirror=False, field="brain")
SESSION = "sub-tcgafg6692"  # a tumour, slices of 5.5 mm, scans that lie up to 20 mm apart

pytestmark = pytest.mark.skipif(
    not any(RAW.glob(f"{SESSION}/**/*.nii.gz")), reason=f"no real MRI at {RAW}"
)


@pytest.mark.parametrize("extractor", ["deepbet", "hd-bet"])
def test_a_real_session_comes_out_on_the_grid(atlas, tmp_path, extractor):
    if extractor == "hd-bet" and not WEIGHTS.is_file():
        pytest.skip(f"no weights at {WEIGHTS}: snakemake --cores 1 resources/assets/hd-bet-0.model")
    found = {path.name: path for path in RAW.glob(f"{SESSION}/**/*.nii.gz")}
    scans = {name: found[f"{SESSION}_{name}.nii.gz"] for name in ("T1w", "T2w")}
    settings = PreprocessSettings(
        spacing=2.0, registration_mm=2.0, extractor=extractor, hd_bet=ONE_FOLD
    )
    result = preprocess_session(
        *(scans, tmp_path, SESSION, settings, 1, atlas["sri24"], atlas["sri24-head"]),
        resources=Resources([WEIGHTS]),
    )
    assert result.atlas_dice >= 0.90
    # The whole ensemble of HD-BET finds 1603 mL, deepbet 1602 mL (benchmarks/results/hd_bet.csv).
    assert result.mask_ml == pytest.approx(1603, rel=0.03)
    assert result.registered["T2w"].similarity > 1.05
    for path in result.paths.volumes.values():
        image = nib.load(path)
        assert image.shape == sri24_grid(2.0).shape
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        array = np.asarray(image.dataobj)
        assert 0.05 < array[array > 0].mean() < 0.95
    assert result.paths.picture.stat().st_size > 10_000


def test_a_scan_finds_its_session_where_both_show_a_long_neck(atlas):
    """Upright poses 68 mm off share as much as some scans share with the atlas."""
    study = Study(atlas["sri24"].parent, RAW, finest=2.0, session=True, clean=False)
    row = study.row(21, f"{SESSION}/anat/{SESSION}_T2w.nii.gz", 6, "bright")
    assert row["error_mm"] < 1
