"""Phantom scans: contrast, pose, voxel grid, bias field and noise of one session.

A contrast is a curve of the template's T1w intensity (so its texture stays), plus what the curve
cannot know: fluid around the brain, lesion, contrast agent. A scan samples that image through
voxel grid, pose and anatomy in one interpolation, then follows the signal model

    S = | g * b(x) * I(x) + n1 + i * n2 |,    n1, n2 ~ N(0, sigma),

with gain g, a smooth bias field b within +-15 % and Rician noise at an SNR of 25 to 35.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from wfdm.atomic import atomic_path
from wfdm.config.data import Modality, PhantomSource
from wfdm.data import anatomy as people
from wfdm.data.anatomy import Anatomy, Template
from wfdm.data.sources.phantom import age_at, dataset_named, draw_person
from wfdm.seeds import generator_for

FIELD_OF_VIEW = (212.0, 252.0, 196.0)  # mm in R, A, S
UPWARD = 7.0  # mm from the brain's centre to the field's: more head above than below
LATTICE = 4.5  # mm between the points where the smooth coordinate map is evaluated
ORIENTATIONS = ("RAS", "LAS", "LPS", "PSR")

# Signal at template intensity 0, CSF, grey matter, white matter and 1.2, inside the brain.
INSIDE: dict[str, tuple[float, ...]] = {
    "T1w": (0.0, 0.30, 0.68, 1.00, 1.20),
    "T2w": (1.0, 1.00, 0.55, 0.33, 0.25),
    "T1Gd": (0.0, 0.32, 0.82, 0.98, 1.15),
    "FLAIR": (0.05, 0.10, 0.82, 0.56, 0.50),
}
# Signal at template intensities of air and bone, muscle, marrow, fat, around the brain.
OUTSIDE_AT = (0.0, 0.3, 0.8, 1.3, 2.0, 3.5)
OUTSIDE: dict[str, tuple[float, ...]] = {
    "T1w": (0.0, 0.28, 0.75, 1.05, 1.35, 1.80),
    "T2w": (0.0, 0.08, 0.25, 0.40, 0.60, 0.75),
    "T1Gd": (0.0, 0.32, 0.90, 1.15, 1.40, 1.80),
    "FLAIR": (0.0, 0.08, 0.30, 0.45, 0.65, 0.80),
}
# Signal of necrotic core, enhancing rim and oedema.
LESION: dict[str, dict[str, float]] = {
    "T1w": {"core": 0.42, "rim": 0.62, "oedema": 0.74},
    "T2w": {"core": 0.95, "rim": 0.62, "oedema": 0.82},
    "T1Gd": {"core": 0.40, "rim": 1.80, "oedema": 0.76},
    "FLAIR": {"core": 0.60, "rim": 0.86, "oedema": 0.96},
}
FLUID = {"T1w": 0.28, "T2w": 1.0, "T1Gd": 0.3, "FLAIR": 0.08}  # between brain and skull
ENHANCED = 1.9  # signal of blood with contrast agent


@dataclass(frozen=True)
class Pose:
    """Where the head lies in the scanner: world = rotation @ point + shift (mm)."""

    rotation: np.ndarray
    shift: np.ndarray

    def moved(self, rng: np.random.Generator) -> "Pose":
        """Return the pose after a small motion (about a degree and a millimetre per axis)."""
        turn = Rotation.from_euler("xyz", rng.normal(0, 1.0, 3), degrees=True).as_matrix()
        return Pose(turn @ self.rotation, self.shift + rng.normal(0, 1.0, 3))


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw the pose of a session: rotations within 8 degrees, shifts within 10 mm per axis."""
    angles = np.clip(rng.normal(0, 4.0, 3), -8, 8)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return Pose(turn, rng.uniform(-10, 10, 3))


def synthesise_session(
    source: PhantomSource,
    seed: int,
    dataset: str,
    subject: str,
    session: str,
    head: Path,
    brain: Path,
    outputs: Mapping[Modality, Path],
) -> None:
    """Write the raw scans of one phantom session, each atomically.

    A scan depends on seed, dataset, subject, session and modality only, not on which others are
    asked for.

    Args:
        source: the cohort's settings.
        seed: the study's seed.
        dataset: name of one of its datasets.
        subject: label without "sub-".
        session: label without "ses-"; "2" is the same person two years later.
        head: the template's whole head, 1 mm.
        brain: the same, skull-stripped.
        outputs: file per contrast (.nii.gz).

    Raises:
        UserError: for an unknown dataset or a template that cannot serve.
    """
    settings = dataset_named(source, dataset)
    template = people.load_template(Path(head), Path(brain))
    person = draw_person(seed, dataset, subject)
    anatomy = people.draw_anatomy(
        template,
        generator_for(seed, "phantom", dataset, subject, "anatomy"),
        age_at(person, session),
        person.male,
        settings.lesions,
    )
    visit = generator_for(seed, "phantom", dataset, subject, session)
    pose = draw_pose(visit)
    for modality, path in outputs.items():
        rng = generator_for(seed, "phantom", dataset, subject, session, modality)
        vessels = generator_for(seed, "phantom", dataset, subject, "vessels")
        signal = contrast(template, anatomy, modality, vessels)
        image = scan(signal, anatomy, pose.moved(rng), settings.voxel_mm, rng)
        with atomic_path(path) as temporary:
            nib.save(image, temporary)


def contrast(
    template: Template, anatomy: Anatomy, modality: Modality, rng: np.random.Generator
) -> np.ndarray:
    """Return the noise-free signal of a contrast on the template's grid, float32, T1w WM = 1.

    `rng` draws the vessels that T1Gd shows.
    """
    signal = _curve(template.outside, OUTSIDE_AT, OUTSIDE[modality])
    box = template.box
    brain, around = template.brain[box], signal[box]
    inside = _brain_signal(template, anatomy, modality)
    # Fluid fills the few dark millimetres between brain and skull.
    fluid = np.clip(2 * template.near[box], 0, 1) * (template.outside[box] < 0.6)
    around += fluid * (FLUID[modality] - around)
    if modality == "T1Gd":
        inside += _vessels(template, rng) * (ENHANCED - inside)
        around += _sinus(template) * (ENHANCED - around)
    around += brain * (inside - around)
    if anatomy.lesion is not None:
        box, maps = people.lesion_maps(template, anatomy.lesion)
        for part, weight in maps.items():
            signal[box] += weight * (LESION[modality][part] - signal[box])
    return signal


def _brain_signal(template: Template, anatomy: Anatomy, modality: Modality) -> np.ndarray:
    """Return the signal of healthy brain tissue within the template's box."""
    t1, levels = template.inside[template.box], template.levels
    # Ageing widens the sulci: what is darker than grey matter gets closer to fluid.
    aged = t1 - 0.4 * anatomy.ageing * np.maximum(levels.gm - t1, 0)
    return _curve(aged, (0.0, levels.csf, levels.gm, levels.wm, 1.2), INSIDE[modality])


def _curve(values: np.ndarray, at: tuple[float, ...], signal: tuple[float, ...]) -> np.ndarray:
    """Map intensities in [0, 4] through a piecewise linear curve, by a table: np.interp is slow."""
    table = np.interp(np.linspace(0, 4, 4097), at, signal).astype(np.float32)
    return table[np.clip(values * 1024, 0, 4096).astype(np.int16)]


def _vessels(template: Template, rng: np.random.Generator) -> np.ndarray:
    """Return a soft map of vessels outside white matter and of the choroid plexus, in the box.

    Two random fields vanish together along random curves: tubes around them look like vessels.
    """
    t1 = template.inside[template.box]
    squared = sum(people.random_field(rng, t1.shape, 16.0) ** 2 for _ in range(2))
    grey_or_fluid = np.clip((0.95 - t1) / 0.2, 0, 1)
    tubes = np.clip(2 * np.exp(-squared / (2 * 0.18**2)), 0, 1) * grey_or_fluid
    x, y, z = template.inside.shape
    ventricles = template.ventricles.repeat(2, 0).repeat(2, 1).repeat(2, 2)[:x, :y, :z]
    plexus = np.exp(-squared / (2 * 0.5**2)) * ventricles[template.box]
    return np.maximum(tubes, plexus).astype(np.float32)


def _sinus(template: Template) -> np.ndarray:
    """Return a soft map of dura and superior sagittal sinus around the brain, in the box."""
    x, y, z = np.ogrid[template.box]
    middle = template.centre
    dura = 0.45 * np.clip(3 * template.near[template.box], 0, 1)
    wide = np.clip(10 * template.near[template.box], 0, 1)
    midline = np.exp(-0.5 * ((x - middle[0]) / 2.5) ** 2) * ((z > middle[2]) | (y < middle[1]))
    return np.maximum(dura, wide * midline).astype(np.float32)


def voxel_map(
    anatomy: Anatomy, pose: Pose, voxel_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the template coordinates of every voxel of a scan, and the scan's affine.

    Returns:
        (coordinates, affine): float32 (3, *shape) in template voxels and (4, 4), RAS. The map is
        smooth: it is evaluated every 4.5 mm and interpolated by cubic splines.
    """
    size = np.asarray(voxel_mm)
    shape = tuple(int(n) for n in np.ceil(np.asarray(FIELD_OF_VIEW) / size))
    origin = -size * (np.asarray(shape) - 1) / 2 + (0, 0, UPWARD)
    nodes = [
        np.linspace(0, n - 1, round(n * v / LATTICE) + 1) for n, v in zip(shape, size, strict=True)
    ]
    lattice = np.stack(np.meshgrid(*nodes, indexing="ij"))
    world = lattice * size.reshape(3, 1, 1, 1) + origin.reshape(3, 1, 1, 1)
    points = np.tensordot(pose.rotation.T, world - pose.shift.reshape(3, 1, 1, 1), axes=1)
    coordinates = np.stack([people.spread(x, shape) for x in anatomy.to_template(points)])
    return coordinates, nib.affines.from_matvec(np.diag(size), origin)


def sample(volume: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Interpolate a template volume linearly at (3, ...) voxels; 0 outside.

    Below its lowest slice the template goes on unchanged: a neck, not a cut.
    """
    x, y, z = coordinates
    return ndimage.map_coordinates(volume, (x, y, np.maximum(z, 0)), order=1, output=np.float32)


def scan(
    signal: np.ndarray,
    anatomy: Anatomy,
    pose: Pose,
    voxel_mm: tuple[float, float, float],
    rng: np.random.Generator,
) -> nib.Nifti1Image:
    """Acquire a signal given on the template's grid: int16, voxels and storage order as drawn."""
    coordinates, affine = voxel_map(anatomy, pose, voxel_mm)
    # A voxel averages over its extent; the template's own 1 mm is already averaged.
    blur = np.sqrt(np.maximum(np.square(voxel_mm) - 1, 0)) / 2.355
    image = sample(ndimage.gaussian_filter(signal, blur, truncate=2.0), coordinates)
    field = people.random_field(rng, image.shape, 70.0, float(np.mean(voxel_mm)))
    image *= 1 + rng.uniform(0.05, 0.15) * field / np.abs(field).max()
    noise = rng.standard_normal((2, *image.shape), dtype=np.float32) / rng.uniform(25, 35)
    gain = rng.uniform(250, 500)
    data = np.rint(gain * np.hypot(image + noise[0], noise[1])).astype(np.int16)
    stored = nib.Nifti1Image(data, affine)
    stored.header.set_xyzt_units("mm")
    order = nib.orientations.axcodes2ornt(ORIENTATIONS[rng.integers(len(ORIENTATIONS))])
    stored = stored.as_reoriented(
        nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), order)
    )
    stored.set_qform(stored.affine, code=1)
    stored.set_sform(stored.affine, code=1)
    return stored
