"""Phantom scans: pose, voxel grid, bias field and noise of one session.

A scan samples the noise-free image of a contrast through voxel grid, pose and anatomy in one
interpolation, then follows the signal model

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
from wfdm.config.cohort import Modality, PhantomDataset, PhantomSource
from wfdm.data.sources.phantom import age_at, dataset_named, draw_person
from wfdm.phantom import anatomy as people
from wfdm.phantom.anatomy import Anatomy, Template
from wfdm.phantom.contrasts import contrast
from wfdm.seeds import generator_for

FIELD_OF_VIEW = (212.0, 252.0, 196.0)  # mm in R, A, S
UPWARD = 7.0  # mm from the brain's centre to the field's: more head above than below
LATTICE = 4.5  # mm between the points where the smooth coordinate map is evaluated
ORIENTATIONS = ("RAS", "LAS", "LPS", "PSR")


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
    anatomy, pose = draw_visit(settings, seed, subject, session, template)
    for modality, path in outputs.items():
        rng = generator_for(seed, "phantom", dataset, subject, session, modality)
        vessels = generator_for(seed, "phantom", dataset, subject, "vessels")
        signal = contrast(template, anatomy, modality, vessels)
        image = scan(signal, anatomy, pose.moved(rng), settings.voxel_mm, rng)
        with atomic_path(path) as temporary:
            nib.save(image, temporary)


def draw_visit(
    dataset: PhantomDataset, seed: int, subject: str, session: str, template: Template
) -> tuple[Anatomy, Pose]:
    """Return who is scanned in a session, and how the head lies; a scan moves it a little more."""
    person = draw_person(seed, dataset.name, subject)
    anatomy = people.draw_anatomy(
        template,
        generator_for(seed, "phantom", dataset.name, subject, "anatomy"),
        age_at(person, session),
        person.male,
        dataset.lesions,
    )
    return anatomy, draw_pose(generator_for(seed, "phantom", dataset.name, subject, session))


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
