"""The phantom cohort: its plan, its anatomy and its scans, against known truth."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from tests.unit.phantoms import source
from wfdm.data.grid import Grid
from wfdm.errors import UserError
from wfdm.phantom import acquisition, anatomy, contrasts, truth
from wfdm.phantom.lesions import lesion_map
from wfdm.preprocess.similarity import resample

SHAPE = (180, 210, 160)
CENTRE = np.array([90.0, 104.0, 82.0])
LEVELS = {"csf": 250.0, "gm": 500.0, "wm": 730.0}
NO_POSE = acquisition.Pose(np.eye(3), np.zeros(3))


def tissue_masks() -> dict[str, np.ndarray]:
    """Nested ellipsoids with sulci and two joined ventricles: every boundary is known."""
    x, y, z = (g - c for g, c in zip(np.ogrid[tuple(map(slice, SHAPE))], CENTRE, strict=True))
    radius = np.sqrt((x / 64) ** 2 + (y / 80) ** 2 + (z / 62) ** 2)
    brain = radius < 1
    sulci = (np.sin(np.arctan2(y, x) * 24) > 0.6) & (radius > 0.88)
    ventricles = ((np.abs(x) - 8) / 9) ** 2 + (y / 26) ** 2 + (z / 9) ** 2 < 1
    csf = brain & (sulci | ventricles)
    wm = (radius < 0.8) & ~ventricles
    return {
        "brain": brain,
        "ventricles": ventricles,
        "csf": csf,
        "wm": wm,
        "gm": brain & ~csf & ~wm,
        "skull": (radius >= 1) & (radius < 1.1),
        "scalp": (radius >= 1.1) & (radius < 1.2),
    }


@pytest.fixture(scope="module")
def masks():
    return tissue_masks()


@pytest.fixture(scope="module")
def template_files(tmp_path_factory, masks):
    folder = tmp_path_factory.mktemp("template")
    grain = np.random.default_rng(0).normal(0, 15, SHAPE)
    brain = sum(LEVELS[name] * masks[name] for name in LEVELS) + grain * masks["brain"]
    head = brain + 130 * masks["brain"] + 250 * masks["skull"] + 2000 * masks["scalp"]
    paths = {}
    # One RAS and one LAS with a trailing dimension, as the published atlas files are.
    for name, data, flip in (("head", head, False), ("brain", brain, True)):
        affine = np.diag([-1.0 if flip else 1.0, 1, 1, 1])
        affine[0, 3] = SHAPE[0] - 1 if flip else 0
        stored = (data[::-1] if flip else data)[..., None].astype(np.int16)
        paths[name] = folder / f"{name}.nii"
        nib.save(nib.Nifti1Image(stored, affine), paths[name])
    return paths["head"], paths["brain"]


@pytest.fixture(scope="module")
def template(template_files):
    return anatomy.load_template(*template_files)


@pytest.fixture(scope="module")
def still(template):
    """The template itself as a person: no deformation, no lesion, 20 years old."""
    coarse = tuple(-(-size // anatomy.COARSE) for size in SHAPE)
    return anatomy.Anatomy(template.centre, np.ones(3), np.zeros((3, *coarse)), 0.0, None)


# --- anatomy --------------------------------------------------------------------------------


def test_spread_reproduces_cubic_polynomials():
    def polynomial(x, y, z):
        return 1 + x**3 - 2 * x * y**2 + z**3 * y

    coarse = np.meshgrid(*(np.linspace(0, 1, n) for n in (4, 5, 7)), indexing="ij")
    fine = np.meshgrid(*(np.linspace(0, 1, n) for n in (9, 11, 20)), indexing="ij")
    result = anatomy.spread(polynomial(*coarse), (9, 11, 20))
    np.testing.assert_allclose(result, polynomial(*fine), atol=1e-5)


def test_tissue_means_of_a_known_mixture():
    rng = np.random.default_rng(2)
    parts = [rng.normal(m, 30, n) for m, n in ((250, 15000), (500, 60000), (730, 40000))]
    assert anatomy.tissue_means(np.concatenate(parts)) == pytest.approx((250, 500, 730), abs=6)


def test_template_is_brought_to_ras_and_understood(template, masks):
    assert template.levels.csf == pytest.approx(250 / 730, abs=0.03)
    assert template.levels.gm == pytest.approx(500 / 730, abs=0.03)
    np.testing.assert_allclose(template.centre, CENTRE, atol=1.0)
    truth = masks["ventricles"][::2, ::2, ::2]
    found = template.ventricles
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.85
    # The head's offset is gone: the same tissue has the same level in both volumes.
    wm = ndimage.binary_erosion(masks["wm"], iterations=2)
    assert np.median(template.outside[wm]) == pytest.approx(
        np.median(template.inside[wm]), abs=0.03
    )


def brain_and_ventricles(template, masks, person):
    """Measure volumes in mL by sampling the known masks through the person's map."""
    coordinates, _ = acquisition.voxel_map(person, NO_POSE, (2.0, 2.0, 2.0))
    names = ("brain", "ventricles")
    return [acquisition.sample(masks[n].astype(np.float32), coordinates).sum() / 125 for n in names]


def test_ventricles_grow_with_age_and_men_have_larger_heads(template, masks):
    ages = np.linspace(20, 85, 9)
    people = [
        anatomy.draw_anatomy(template, np.random.default_rng(i), age, bool(i % 2), False)
        for i, age in enumerate(ages)
    ]
    volumes = np.array([brain_and_ventricles(template, masks, p) for p in people])
    assert np.corrcoef(ages, volumes[:, 1])[0, 1] > 0.8
    woman, man = (
        anatomy.draw_anatomy(template, np.random.default_rng(0), 50, male, False)
        for male in (False, True)
    )
    ratio = man.scale / woman.scale
    assert ratio == pytest.approx(np.full(3, 1.04), abs=0.003)


def test_the_truth_is_one_person_at_any_age(template, masks):
    """Seen without a scanner: nobody else, larger ventricles, and the signal of the template."""
    young, old = (truth.person(template, 1, 0, age, False) for age in (20, 80))
    sizes = [brain_and_ventricles(template, masks, person)[1] for person in (young, old)]
    assert sizes[1] > 1.1 * sizes[0]
    np.testing.assert_array_equal(young.scale, old.scale)
    man = truth.person(template, 1, 0, 20, True)
    np.testing.assert_allclose(man.scale - young.scale, anatomy.MALE_SCALE - 1)
    shape = tuple(size // 2 for size in SHAPE)
    images = [truth.seen(template, person, shape, 2.0) for person in (young, old)]
    assert images[0].shape == shape and images[0][0, 0, 0] == 0
    assert np.percentile(images[0], 99) == pytest.approx(1, abs=0.1)  # white matter
    fluid = [((image > 0.1) & (image < 0.5)).sum() for image in images]
    assert fluid[1] > fluid[0]


def test_one_person_ages_monotonically(template, masks):
    sizes = [
        brain_and_ventricles(
            template,
            masks,
            anatomy.draw_anatomy(template, np.random.default_rng(5), age, True, False),
        )[1]
        for age in (25, 27, 50, 80)
    ]
    assert sizes == sorted(sizes) and sizes[3] > 1.5 * sizes[0]


def test_deformation_does_not_fold(template):
    person = anatomy.draw_anatomy(template, np.random.default_rng(3), 85, True, False)
    coordinates, _ = acquisition.voxel_map(person, NO_POSE, (3.0, 3.0, 3.0))
    jacobian = np.stack([np.stack(np.gradient(c)) / 3 for c in coordinates])
    assert np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1))).min() > 0


@pytest.mark.parametrize("fault", ["truncated", "grid", "whole head as brain", "no ventricles"])
def test_unfit_templates_are_refused_in_one_line(tmp_path, template_files, masks, fault):
    head, brain = template_files
    image = nib.load(brain)
    bad = tmp_path / "bad.nii"
    if fault == "truncated":
        bad.write_bytes(brain.read_bytes()[:5000])
    elif fault == "grid":
        nib.save(image.slicer[:-2], bad)
    elif fault == "whole head as brain":
        nib.save(nib.Nifti1Image(np.ones(image.shape, np.int16), image.affine), bad)
    else:
        filled = masks["ventricles"][::-1, :, :, None]  # the brain file is stored LAS
        full = np.where(filled, LEVELS["wm"], image.get_fdata())
        nib.save(nib.Nifti1Image(full.astype(np.int16), image.affine), bad)
    with pytest.raises(UserError, match=r"^phantom: [^\n]+$"):
        anatomy.load_template(head, bad)


# --- acquisition ----------------------------------------------------------------------------


def test_contrasts_order_the_tissues(template, masks, still):
    inner = {n: ndimage.binary_erosion(masks[n], iterations=2) for n in ("gm", "wm", "ventricles")}
    rng = np.random.default_rng
    mean = {
        modality: {
            name: float(np.median(contrasts.contrast(template, still, modality, rng(1))[where]))
            for name, where in inner.items()
        }
        for modality in ("T1w", "T2w", "T1Gd", "FLAIR")
    }
    assert mean["T1w"]["wm"] > mean["T1w"]["gm"] + 0.2 > mean["T1w"]["ventricles"] + 0.4
    assert mean["T2w"]["ventricles"] > mean["T2w"]["gm"] + 0.2 > mean["T2w"]["wm"] + 0.3
    assert mean["FLAIR"]["gm"] > mean["FLAIR"]["wm"] + 0.1 > mean["FLAIR"]["ventricles"] + 0.3
    t1, gd = mean["T1w"], mean["T1Gd"]
    assert gd["wm"] - gd["gm"] < 0.75 * (t1["wm"] - t1["gm"])
    # Blood with contrast agent is brighter than all tissue, in a few percent of the brain.
    agent = contrasts.contrast(template, still, "T1Gd", rng(1))[masks["brain"]]
    assert 0.01 < (agent > 1.5).mean() < 0.08


def test_a_lesion_looks_as_a_tumour_does(template):
    person = anatomy.draw_anatomy(template, np.random.default_rng(4), 40, False, True)
    box, maps = anatomy.lesion_maps(template, person.lesion)
    signal = {
        m: contrasts.contrast(template, person, m, np.random.default_rng(0))[box]
        for m in ("T1w", "T2w", "T1Gd", "FLAIR")
    }
    core, rim, oedema = maps["core"] > 0.95, maps["rim"] > 0.6, maps["oedema"] > 0.6
    assert min(core.sum(), rim.sum(), oedema.sum()) > 200
    assert signal["T1Gd"][rim].mean() > 1.3 > 2.5 * signal["T1Gd"][core].mean()
    assert signal["T1w"][core].mean() < 0.6 < signal["T1w"][oedema].mean() < 0.85
    wm_t2, wm_flair = contrasts.INSIDE["T2w"][3], contrasts.INSIDE["FLAIR"][3]
    assert signal["T2w"][oedema].mean() > wm_t2 + 0.3
    assert signal["FLAIR"][oedema].mean() > wm_flair + 0.2


def test_a_scan_puts_anatomy_where_the_pose_says(template, still):
    """A ball right, front and above of the centre is found at R @ point + shift in the world."""
    point = np.array([30.0, 40.0, 20.0])
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    away = grid - (template.centre + point).reshape(3, 1, 1, 1)
    ball = (np.sqrt((away**2).sum(axis=0)) < 12).astype(np.float32)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        pose = acquisition.draw_pose(rng)
        image = acquisition.scan(ball, still, pose, (2.0, 1.5, 2.5), rng)
        data = image.get_fdata() * (image.get_fdata() > image.get_fdata().max() / 2)
        found = nib.affines.apply_affine(image.affine, ndimage.center_of_mass(data))
        np.testing.assert_allclose(found, pose.rotation @ point + pose.shift, atol=0.5)
        along = {
            nib.aff2axcodes(image.affine)[i]: v for i, v in enumerate(image.header.get_zooms())
        }
        sizes = {frozenset("RL"): 2.0, frozenset("AP"): 1.5, frozenset("SI"): 2.5}
        for code, size in along.items():
            assert next(v for k, v in sizes.items() if code in k) == pytest.approx(float(size))


def test_bias_is_smooth_and_within_15_percent_and_noise_is_rician(still):
    rng = np.random.default_rng(8)
    flat = np.zeros(SHAPE, np.float32)
    flat[20:160, 20:190, 20:140] = 1
    image = nib.as_closest_canonical(acquisition.scan(flat, still, NO_POSE, (2, 2, 2), rng))
    data = image.get_fdata()
    # Far from the block only noise is left: Rayleigh, its mean sigma * sqrt(pi / 2).
    block = data > data.max() / 2
    air = data[~ndimage.binary_dilation(block, iterations=4)]
    air = air[air > 0]
    sigma = data[~ndimage.binary_dilation(block, iterations=4)].mean() / np.sqrt(np.pi / 2)
    inner = ndimage.binary_erosion(block, iterations=4)
    assert 20 < data[inner].mean() / sigma < 40
    assert np.mean(air**2) == pytest.approx(2 * sigma**2, rel=0.1)
    smooth = ndimage.gaussian_filter(data, 3)[ndimage.binary_erosion(block, iterations=10)]
    assert 1.03 < smooth.max() / smooth.min() < 1.15 / 0.85


def test_sessions_are_reproducible_and_scans_independent(tmp_path, template_files):
    cohort = source()

    def make(session, *modalities):
        paths = {
            m: tmp_path / f"{len(list(tmp_path.iterdir()))}" / f"{m}.nii.gz" for m in modalities
        }
        for path in paths.values():
            path.parent.mkdir(exist_ok=True)
        acquisition.synthesise_session(cohort, 42, "ONE", "002", session, *template_files, paths)
        return {m: path.read_bytes() for m, path in paths.items()}

    both, alone = make("1", "T1w", "T2w"), make("1", "T2w")
    assert both["T2w"] == alone["T2w"]
    assert both["T1w"] != both["T2w"]
    assert make("2", "T1w")["T1w"] != both["T1w"]
    image = nib.load(next(tmp_path.glob("*/T1w.nii.gz")))
    assert image.ndim == 3 and image.get_data_dtype() == np.int16
    assert sorted(map(float, image.header.get_zooms())) == [2.0, 2.5, 3.0]
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    assert not list(tmp_path.glob("**/.partial-*"))


def test_unknown_dataset_is_told(tmp_path, template_files):
    with pytest.raises(UserError, match="no dataset 'THREE'; there is ONE, TWO"):
        acquisition.synthesise_session(
            source(), 42, "THREE", "001", "", *template_files, {"T1w": Path(tmp_path / "a.nii.gz")}
        )


# --- lesions --------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["T2w", "FLAIR"])
def test_the_lesion_map_is_where_a_scan_differs_from_a_healthy_one(
    template_files, tmp_path, modality
):
    """The same person is scanned with and without the lesion: noise, pose and bias are the same."""
    scans = {}
    for lesions in (True, False):
        path = tmp_path / f"{lesions}.nii.gz"
        acquisition.synthesise_session(
            source(lesions=lesions, voxel_mm=(2.0, 2.0, 2.0)),
            5, "ONE", "001", "1", *template_files, {modality: path},
        )  # fmt: skip
        scans[lesions] = nib.load(path)
    data = {lesions: scan.get_fdata() for lesions, scan in scans.items()}
    changed = np.abs(data[True] - data[False]) > 0.1 * np.percentile(data[False], 99)
    truth = lesion_map(source(), 5, "ONE", "001", "1", modality, *template_files)
    mask = resample(truth, np.eye(4), Grid(changed.shape, scans[True].affine)) > 0.5
    assert mask.sum() > 50
    assert 2 * (mask & changed).sum() / (mask.sum() + changed.sum()) > 0.8
    assert lesion_map(source(), 5, "TWO", "001", "", modality, *template_files) is None
