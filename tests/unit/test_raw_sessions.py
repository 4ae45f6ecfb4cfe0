"""One session of real patient MRI, where this machine has it beside the checkout."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from wfdm.config.preprocess import PreprocessSettings
from wfdm.preprocess.grid import sri24_grid
from wfdm.preprocess.session import preprocess_session

RAW = Path(__file__).parents[3] / "shared" / "data" / "raw"
SESSION = "sub-tcgafg6692"  # a tumour, slices of 5.5 mm, scans that lie up to 20 mm apart

pytestmark = pytest.mark.skipif(
    not any(RAW.glob(f"{SESSION}/**/*.nii.gz")), reason=f"no real MRI at {RAW}"
)


def test_a_real_session_comes_out_on_the_grid(atlas, tmp_path):
    found = {path.name: path for path in RAW.glob(f"{SESSION}/**/*.nii.gz")}
    scans = {name: found[f"{SESSION}_{name}.nii.gz"] for name in ("T1w", "T2w")}
    settings = PreprocessSettings(spacing=2.0, registration_mm=2.0, extractor="deepbet")
    result = preprocess_session(
        scans, tmp_path, SESSION, settings, 1, atlas["sri24"], atlas["sri24-head"]
    )
    assert result.atlas_dice >= 0.90
    assert result.registered["T2w"].similarity > 1.05
    for path in result.paths.volumes.values():
        image = nib.load(path)
        assert image.shape == sri24_grid(2.0).shape
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        array = np.asarray(image.dataobj)
        assert 0.05 < array[array > 0].mean() < 0.95
    assert result.paths.picture.stat().st_size > 10_000
