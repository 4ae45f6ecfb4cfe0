"""Preprocessing of one session, against moves that are known and against ANTs' own resampling."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from wfdm.config.preprocess import PreprocessSettings
from wfdm.data.grid import Grid, sri24_grid
from wfdm.data.volumes import read_image
from wfdm.errors import SessionError, UserError
from wfdm.preprocess import transforms
from wfdm.preprocess.derivatives import session_paths
from wfdm.preprocess.extraction import extractors as brain_extraction
from wfdm.preprocess.extraction.extractors import Extractor, Resources, extractor_of
from wfdm.preprocess.intensity import normalise
from wfdm.preprocess.placing import dice
from wfdm.preprocess.registration import Rigid, region_around, rigid
from wfdm.preprocess.session import preprocess_session
from wfdm.preprocess.similarity import Similarity, isotropic, resample, smoothed
from wfdm.preprocess.starts import Head

SETTINGS = PreprocessSettings(spacing=2.0, registration_mm=2.0, extractor="deepbet")
PREFIX = "sub-001_ses-1"


@pytest.fixture(scope="module")
def head(atlas) -> nib.Nifti1Image:
    return read_image(atlas["sri24-head"])


@pytest.fixture(scope="module")
def region(atlas) -> nib.Nifti1Image:
    return region_around(np.asarray(read_image(atlas["sri24"]).dataobj) > 0)


def move(degrees: tuple, mm: tuple) -> np.ndarray:
    """Return the matrix from SRI-24 points to native ones, about the middle of the grid."""
    middle = sri24_grid(1.0).affine @ [119.5, 119.5, 77, 1]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = np.array(mm) - matrix[:3, :3] @ middle[:3]
    return matrix


def scan(head: nib.Nifti1Image, matrix: np.ndarray, voxel=(1.5, 1.5, 2.0), inverted=False):
    """Return `head` as a scanner would see it after `matrix`: coarser, shaded, noisy."""
    shape = tuple(
        int(np.ceil(extent / size)) for extent, size in zip((200, 240, 200), voxel, strict=True)
    )
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = -np.array([100, 120, 100])
    array = resample(head, np.linalg.inv(matrix), Grid(shape, affine))
    if inverted:
        array = np.where(array > 30, 900 - array, array)
    noise = np.random.default_rng(3).normal(0, 15, shape)
    shading = 1 + 0.2 * np.sin(np.linspace(0, 3, shape[0]))[:, None, None]
    return nib.Nifti1Image(np.abs(array * shading + noise).astype(np.float32), affine)


def distance_mm(a: np.ndarray, b: np.ndarray, region: nib.Nifti1Image) -> float:
    """Return the mean distance between two matrices' images of the region's points."""
    voxels = np.argwhere(np.asarray(region.dataobj) > 0)[::500]
    points = region.affine @ np.c_[voxels, np.ones(len(voxels))].T
    return float(np.linalg.norm(((a - b) @ points)[:3], axis=0).mean())


def test_grid_is_the_atlas_grid(head):
    grid = sri24_grid(1.0)
    assert grid.shape == head.shape
    np.testing.assert_allclose(grid.affine, head.affine)


@pytest.mark.parametrize("spacing", [0.7, 2.0, 3.0])
def test_any_spacing_covers_the_same_field(spacing):
    fine, grid = sri24_grid(1.0), sri24_grid(spacing)
    for size, extent in zip(grid.shape, fine.shape, strict=True):
        assert extent - 1e-6 <= size * spacing < extent + spacing
    middles = [g.affine @ [*(np.array(g.shape) - 1) / 2, 1] for g in (fine, grid)]
    np.testing.assert_allclose(*middles)


@pytest.mark.parametrize(
    ("degrees", "mm", "inverted"),
    [((8, -6, 10), (6, -9, 5), False), ((-18, 5, -12), (-15, 20, 25), True)],
)
def test_a_known_move_is_recovered(head, region, degrees, mm, inverted):
    truth = move(degrees, mm)
    found = rigid(head, scan(head, truth, inverted=inverted), region, 2.0, 1, "a head")
    assert distance_mm(found.matrix, truth, region) < 0.5
    # Rigid: the rotation keeps lengths and handedness.
    np.testing.assert_allclose(found.matrix[:3, :3].T @ found.matrix[:3, :3], np.eye(3), atol=1e-5)
    assert np.linalg.det(found.matrix[:3, :3]) > 0


def test_slices_of_6_mm_are_registered(head, region):
    truth = move((12, -4, 9), (-12, 8, 14))
    found = rigid(head, scan(head, truth, (1.0, 1.0, 6.0), inverted=True), region, 2.0, 1, "a head")
    assert distance_mm(found.matrix, truth, region) < 1


def test_isotropic_equals_scipy_axis_by_axis(head):
    image = nib.Nifti1Image(np.asarray(head.dataobj)[60:160:2, 80:200, 40:140], head.affine)
    image.affine[:3, 0] *= 2
    found = isotropic(image, 4.0)
    sigma = np.sqrt([16 / 4 - 1, 15, 15]) / 2.355
    smooth = ndimage.gaussian_filter(np.asarray(image.dataobj), sigma, truncate=3)
    expected = resample(
        nib.Nifti1Image(smooth, image.affine), np.eye(4), Grid(found.shape, found.affine)
    )
    np.testing.assert_allclose(found.dataobj, expected, rtol=1e-3, atol=0.5)
    middles = [i.affine @ [*(np.array(i.shape) - 1) / 2, 1] for i in (image, found)]
    np.testing.assert_allclose(*middles)


def test_smoothed_leaves_what_the_coarse_grid_can_show():
    x, step = np.arange(120.0), 0.5
    ramp, stripes = 3 * x, 50 * (-1) ** x  # the ramp survives, a pattern of one voxel does not
    array = np.broadcast_to((ramp + stripes)[:, None, None], (120, 12, 12)).astype(np.float32)
    image = nib.Nifti1Image(array, np.diag([step, 3, 3, 1]))
    found = np.asarray(smoothed(image, 2.5).dataobj)
    np.testing.assert_allclose(found[20:100, 6, 6], ramp[20:100], atol=0.5)
    assert np.array_equal(np.asarray(smoothed(image, step).dataobj), array)  # nothing is finer


def test_a_header_with_wrong_axes_is_mended(head, region):
    truth = move((180, 5, 3), (4, 0, 0))
    found = rigid(head, scan(head, truth), region, 4.0, 1, "a head")
    assert distance_mm(found.matrix, truth, region) < 1


def test_what_is_no_head_is_refused(head, region):
    noise = np.random.default_rng(0).normal(size=(60, 60, 60)).astype(np.float32)
    blob = nib.Nifti1Image(ndimage.gaussian_filter(noise, 3), np.diag([4.0, 4, 4, 1]))
    with pytest.raises(
        UserError, match=r"sub-9, T1w: registration failed from every start"
    ) as error:
        rigid(head, blob, region, 4.0, 1, "sub-9, T1w")
    assert "\n" not in str(error.value)


def test_similarity_is_symmetric_under_contrast_and_best_when_aligned(head, region):
    inverse = nib.Nifti1Image(-np.asarray(head.dataobj), head.affine)
    similarity = Similarity(head, inverse, region, 6.0)
    aligned = similarity(np.eye(4))
    shifts = [np.eye(4) + np.eye(4)[:, [3]] * 0 for _ in range(3)]
    for axis, shifted in enumerate(shifts):
        shifted[axis, 3] = 6.0
        assert similarity(shifted) < aligned
    far = np.eye(4)
    far[0, 3] = 1000
    assert similarity(far) == 1.0


def test_transform_file_is_what_ants_applies(head, tmp_path):
    matrix = move((8, -6, 10), (6, -9, 5))
    native = scan(head, matrix)
    grid = sri24_grid(4.0)
    transforms.write_transform(tmp_path / "xfm.mat", matrix)
    np.testing.assert_allclose(transforms.read_transform(tmp_path / "xfm.mat"), matrix, atol=1e-4)
    fixed = nib.Nifti1Image(np.zeros(grid.shape, np.float32), grid.affine)
    theirs = transforms.ants().apply_transforms(
        transforms.to_ants(fixed, np.eye(4)),
        transforms.to_ants(native, np.eye(4)),
        [str(tmp_path / "xfm.mat")],
        interpolator="linear",
    )
    ours = resample(native, matrix, grid)
    inside = resample(nib.Nifti1Image(np.ones(native.shape), native.affine), matrix, grid) == 1
    assert inside.mean() > 0.5
    np.testing.assert_allclose(ours[inside], theirs.numpy()[inside], atol=0.05)


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


@pytest.mark.parametrize("up", [(0, 0, 1), (0, 0, -1), (0, 1, 0), (-1, 0, 0)])
def test_the_head_is_found_above_its_neck(up):
    """A ball of 15 cm on a column of 10 cm: its centre, whichever axis points upwards."""
    x, y, z = np.indices((64, 64, 64)) * 4.0
    ball = (x - 120) ** 2 + (y - 130) ** 2 + (z - 170) ** 2 < 75**2
    neck = (x - 120) ** 2 + (y - 130) ** 2 < 50**2
    body = np.where(ball | (neck & (z < 170)), 1.0, 0.0)
    turn = Rotation.align_vectors([up], [(0, 0, 1)])[0].as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn * 4
    image = nib.as_closest_canonical(nib.Nifti1Image(body.astype(np.float32), affine))
    found, towards = Head(image), np.array(up, float)
    assert np.linalg.norm(found.below_crown(towards) - turn @ [120, 130, 170]) < 8
    upper = turn @ [120, 130, 195.5]  # the middle of the ball's upper 8 cm
    assert min(np.linalg.norm(each - upper) for each in found.below_any_height(towards)) < 6


def test_a_neck_of_12_cm_in_a_field_of_256_mm(head, region):
    """The middle of the field is the origin, as on a scanner: no header helps."""
    truth = move((6, -4, 5), (0, 0, 40))
    affine = np.diag([3.0, 3, 3, 1])
    affine[:3, 3] = -128
    voxels = np.linalg.inv(head.affine) @ np.linalg.inv(truth) @ affine
    at = (
        np.einsum("ij,jklm->iklm", voxels[:3, :3], np.indices((86, 86, 86)))
        + voxels[:3, 3, None, None, None]
    )
    at[2] = np.maximum(at[2], 2)  # the lowest slice goes on
    whole = ndimage.map_coordinates(np.asarray(head.dataobj), at, order=1).astype(np.float32)
    found = rigid(head, nib.Nifti1Image(whole, affine), region, 4.0, 1, "a head and neck")
    assert distance_mm(found.matrix, truth, region) < 1
