"""Preprocessing of one session, against moves that are known and against ANTs' own resampling."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from tests.unit.heads import distance_mm, move, scan
from wfdm.config.preprocess import PreprocessSettings
from wfdm.data.grid import sri24_grid
from wfdm.data.volumes import read_image
from wfdm.errors import SessionError, UserError
from wfdm.preprocess import transforms
from wfdm.preprocess.derivatives import session_paths
from wfdm.preprocess.extraction import extractors as brain_extraction
from wfdm.preprocess.extraction.extractors import Extractor, Resources, extractor_of
from wfdm.preprocess.intensity import normalise
from wfdm.preprocess.placing import dice
from wfdm.preprocess.registration import Rigid, rigid
from wfdm.preprocess.session import preprocess_session
from wfdm.preprocess.similarity import resample

SETTINGS = PreprocessSettings(spacing=2.0, registration_mm=2.0, extractor="deepbet")
PREFIX = "sub-001_ses-1"


def test_intensity_is_the_percentile_formula():
    rng = np.random.default_rng(0)
    volume = rng.normal(100, 20, (30, 30, 30)).astype(np.float32)
    mask = np.zeros(volume.shape, bool)
    mask[8:22, 8:22, 8:22] = True
    found = normalise(volume, mask, (0.1, 99.9))
    masked = np.where(mask, volume, 0)
    low, high = np.quantile(masked, [0.001, 0.999])
    np.testing.assert_allclose(
        found, np.clip((masked - low) / (high - low), 0, 1) * mask, atol=1e-6
    )
    assert found.dtype == np.float32
    assert (found[~mask] == 0).all()


def test_foreground_percentiles_leave_the_background_out():
    rng = np.random.default_rng(1)
    volume = rng.uniform(50, 150, (20, 20, 20)).astype(np.float32)
    mask = np.zeros(volume.shape, bool)
    mask[5:15, 5:15, 5:15] = True
    found = normalise(volume, mask, (10, 90), "foreground")
    low, high = np.quantile(volume[mask], [0.1, 0.9])
    np.testing.assert_allclose(
        found[mask], np.clip((volume[mask] - low) / (high - low), 0, 1), atol=1e-5
    )
    assert (found[~mask] == 0).all()


def test_deepbet_needs_a_t1w():
    extractor = extractor_of(SETTINGS, Resources())
    with pytest.raises(UserError, match=r"sub-7_ses-2: deepbet reads T1w only.*hd-bet"):
        extractor.check("FLAIR", "sub-7_ses-2")


@pytest.mark.parametrize(
    ("name", "missing"),
    [("hd-bet", "hd-bet-4"), ("hd-bet-2", r"(pip install|checkpoint_final\.pth)")],
)
def test_an_extractor_says_what_is_missing_before_any_work(
    tmp_path, monkeypatch, atlas, name, missing
):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = PreprocessSettings(extractor=name)
    scans = {"T1w": tmp_path / "never-read.nii.gz"}
    with pytest.raises(UserError, match=missing) as error:
        preprocess_session(scans, tmp_path, PREFIX, settings, 1, *atlas.values())
    assert not isinstance(error.value, SessionError), "no session could be preprocessed"
    assert "\n" not in str(error.value)


def test_an_implausible_mask_is_refused(atlas, tmp_path, monkeypatch):
    nothing = Extractor(lambda reference, session: None, lambda head: head > 1e9)
    monkeypatch.setattr("wfdm.preprocess.session.extractor_of", lambda *_: nothing)
    monkeypatch.setattr("wfdm.preprocess.placing.rigid", lambda *_, **more: Rigid(np.eye(4), 1.05))
    settings = PreprocessSettings(spacing=3.0, registration_mm=3.0, extractor="deepbet")
    scans = {"T1w": atlas["sri24-head"]}
    with pytest.raises(SessionError, match="sub-001_ses-1: the brain mask has 0 mL"):
        preprocess_session(scans, tmp_path / "out", PREFIX, settings, 1, *atlas.values())
    assert not (tmp_path / "out").exists()


def test_a_mask_beside_the_atlas_brain_gets_a_second_try(atlas, region, tmp_path, monkeypatch):
    """The first registration is made to end on the side; the scan is a brain without its head."""
    brain = read_image(atlas["sri24"])
    truth = move((5, 3, -8), (4, 2, 6))
    path = tmp_path / f"{PREFIX}_T1w.nii"
    nib.save(scan(brain, truth, (2.0, 2.0, 2.0)), path)
    lying = truth @ np.linalg.inv(move((0, 0, 0), (0, 0, 0))) @ move((90, 0, 0), (0, 0, 0))
    starts = []

    def first_wrong(*args, starts_=starts, **more):
        starts_.append(more.get("starts"))
        return Rigid(lying, 1.05) if len(starts_) == 1 else rigid(*args, **more)

    threshold = Extractor(
        lambda reference, session: None,
        lambda head: ndimage.binary_opening(head > 100, iterations=2),
    )
    monkeypatch.setattr("wfdm.preprocess.placing.rigid", first_wrong)
    monkeypatch.setattr("wfdm.preprocess.session.extractor_of", lambda *_: threshold)
    settings = PreprocessSettings(spacing=3.0, registration_mm=4.0, extractor="deepbet")
    result = preprocess_session({"T1w": path}, tmp_path, PREFIX, settings, 1, *atlas.values())
    assert list(starts[1]) == ["brain's principal axes"]
    assert result.registered["T1w"].start == "brain's principal axes"
    found = transforms.read_transform(result.paths.transforms["T1w"])
    assert distance_mm(found, truth, region) < 1.5


@pytest.fixture(scope="module")
def session(head, atlas, tmp_path_factory):
    """One session: a T1w and a FLAIR-like scan in another pose; run once for several tests."""
    folder = tmp_path_factory.mktemp("session")
    truth = {"T1w": move((8, -6, 10), (6, -9, 5)), "FLAIR": move((5, -6, 8), (2, -9, 0))}
    scans = {}
    for modality, matrix in truth.items():
        scans[modality] = folder / f"{PREFIX}_{modality}.nii.gz"
        nib.save(scan(head, matrix, inverted=modality == "FLAIR"), scans[modality])
    paths = (atlas["sri24"], atlas["sri24-head"])
    result = preprocess_session(scans, folder / "out", PREFIX, SETTINGS, 5, *paths)
    return scans, paths, truth, result


def test_session_is_a_brain_on_the_grid(session, atlas):
    _, _, _, result = session
    grid = sri24_grid(2.0)
    mask = nib.load(result.paths.mask)
    inside = np.asarray(mask.dataobj) > 0
    native = read_image(atlas["sri24"])
    expected = resample(native, np.eye(4), grid) > 0
    assert dice(inside, expected) > 0.9
    assert result.atlas_dice > 0.9
    assert result.reference == "T1w"
    for path in result.paths.volumes.values():
        image = nib.load(path)
        array = np.asarray(image.dataobj)
        assert array.shape == grid.shape
        np.testing.assert_allclose(image.affine, grid.affine)
        assert image.get_data_dtype() == np.float32
        assert array.min() == 0 and array.max() == 1
        assert (array[~inside] == 0).all()
        assert json.loads(Path(str(path).replace(".nii.gz", ".json")).read_text())["SkullStripped"]


def test_session_transforms_recover_the_moves(session, region):
    _, _, truth, result = session
    for modality, path in result.paths.transforms.items():
        assert distance_mm(transforms.read_transform(path), truth[modality], region) < 0.5


def test_session_transforms_are_inverted_by_ants(session):
    """The written T1w goes back to where it was scanned, by its transform's inverse."""
    scans, _, _, result = session
    native = read_image(scans["T1w"])
    ants = transforms.ants()
    back = ants.apply_transforms(
        transforms.to_ants(native, np.eye(4)),
        ants.image_read(str(result.paths.volumes["T1w"])),
        [str(result.paths.transforms["T1w"])],
        whichtoinvert=[True],
        interpolator="linear",
    ).numpy()
    inside = back > 0.3
    assert 900 < inside.sum() * np.prod(native.header.get_zooms()) / 1000 < 1900  # mL
    assert np.corrcoef(back[inside], np.asarray(native.dataobj)[inside])[0, 1] > 0.9


def test_session_names_follow_bids(tmp_path):
    paths = session_paths(tmp_path, PREFIX, ["FLAIR", "T1Gd", "T1w"])
    names = [path.name for path in paths.volumes.values()]
    assert names == [
        "sub-001_ses-1_space-SRI24_desc-preproc_T1w.nii.gz",
        "sub-001_ses-1_ce-gadolinium_space-SRI24_desc-preproc_T1w.nii.gz",
        "sub-001_ses-1_space-SRI24_desc-preproc_FLAIR.nii.gz",
    ]
    assert paths.mask.name == "sub-001_ses-1_space-SRI24_desc-brain_mask.nii.gz"


def test_session_repeats_byte_for_byte(session, tmp_path):
    scans, paths, _, result = session
    backwards = dict(reversed(scans.items()))
    preprocess_session(backwards, tmp_path, PREFIX, SETTINGS, 5, *paths)
    first = {path.name: path.read_bytes() for path in result.paths.mask.parent.iterdir()}
    second = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []
    assert len(first) == 2 * 3 + 2 + 1  # volume, sidecar, transform; mask with sidecar; picture


def test_a_bad_scan_leaves_nothing_behind(session, tmp_path, monkeypatch):
    scans, paths, _, _ = session
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(scans["FLAIR"].read_bytes()[:-1000])
    monkeypatch.setattr(brain_extraction, "_deepbet", lambda: pytest.fail("work was done"))
    with pytest.raises(UserError, match=r"cut\.nii\.gz: cut short"):
        preprocess_session({**scans, "FLAIR": cut}, tmp_path / "out", PREFIX, SETTINGS, 5, *paths)
    assert not (tmp_path / "out").exists()


def test_a_slab_fails_alone(head, atlas, tmp_path):
    truth = move((4, 3, -5), (3, 2, 4))
    whole = scan(head, truth, (2.0, 2.0, 2.0))
    slab = nib.Nifti1Image(np.asarray(whole.dataobj)[:, :, :15], whole.affine)  # 3 cm of the neck
    scans = {"T1w": tmp_path / "T1w.nii", "T2w": tmp_path / "T2w.nii"}
    nib.save(whole, scans["T1w"])
    nib.save(slab, scans["T2w"])
    settings = PreprocessSettings(spacing=3.0, registration_mm=4.0, extractor="deepbet")
    result = preprocess_session(scans, tmp_path / "out", PREFIX, settings, 1, *atlas.values())
    assert list(result.paths.volumes) == ["T1w"] and result.atlas_dice > 0.85
    assert "T2w: registration failed from every start" in result.left_out["T2w"]
    assert not [path for path in (tmp_path / "out").iterdir() if "T2w" in path.name]
