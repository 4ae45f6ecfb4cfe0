"""Phantom anatomy: a template head, tissue levels, and a smooth deformation per person.

All maps live on the template's grid (RAS, 1 mm). Intensities are in units of white matter on
T1w. A person's anatomy is the backward map from the person's space, in mm about the centre of
the brain, to template voxels:

    x(y) = c + y / s + u(y / s),    u = elastic + growth * g

with per-axis scale s (sex, individual), a random smooth elastic field, and g, the gradient of the
blurred ventricles scaled to at most 1: it points into the ventricles, so that pulling back along
it by `growth` mm moves their walls outward by about as much.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import interpolate, ndimage

from wfdm.errors import UserError

COARSE = 4  # mm between the nodes of the deformation
ELASTIC_MM = 1.8  # rms of each component of the elastic field
ELASTIC_SPACING = 32.0  # mm between its control points
VENTRICLE_DEPTH = 34.0  # mm below the surface, where the lateral ventricles are the largest cavity
VENTRICLE_BLUR = 7.0  # mm
GROWTH_MM = (-1.5, 3.3)  # of the ventricle walls at 20 and at 85 years
MALE_SCALE = 1.04
MARGIN = 8  # mm around the brain in Template.box

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Levels:
    """Mean T1w intensity of each tissue in the template, white matter being 1."""

    csf: float
    gm: float
    wm: float = 1.0


@dataclass(frozen=True)
class Template:
    """A whole head and its brain on one RAS grid of 1 mm, float32.

    `inside` and `outside` are T1w intensities (white matter 1) to be used within and around
    the brain; `brain` is a soft mask in [0, 1] and `near` a softer one that reaches some 5 mm
    beyond; `depth` is the distance in mm to the brain's surface and `ventricles` the mask of the
    lateral ventricles, both on every second voxel. `box` holds the brain with a margin.
    """

    inside: np.ndarray
    outside: np.ndarray
    brain: np.ndarray
    near: np.ndarray
    levels: Levels
    box: Box
    depth: np.ndarray
    ventricles: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """Centre of the brain in voxels, shape (3,)."""
        return np.argwhere(self.depth > 0).mean(axis=0) * 2.0


@dataclass(frozen=True)
class Lesion:
    """A tumour: centre in template voxels, radius in mm, control points of its irregularity."""

    centre: np.ndarray
    radius: float
    irregularity: np.ndarray


@dataclass(frozen=True)
class Anatomy:
    """One person at one age (see the module's equation).

    `displacement` has shape (3, *coarse grid) in mm; `ageing` runs from 0 at 20 years to 1 at 85.
    """

    centre: np.ndarray
    scale: np.ndarray
    displacement: np.ndarray
    ageing: float
    lesion: Lesion | None

    def to_template(self, points: np.ndarray) -> np.ndarray:
        """Map points (3, ...) in mm about the brain's centre to template voxels (3, ...)."""
        column = (3,) + (1,) * (points.ndim - 1)
        x = points / self.scale.reshape(column) + self.centre.reshape(column)
        moved = [
            ndimage.map_coordinates(u, x / COARSE, order=1, mode="nearest")
            for u in self.displacement
        ]
        return x + np.stack(moved)


def spread(control: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Interpolate control points (n1, n2, n3) to `shape` by cubic splines, corner to corner.

    The interpolation is linear in the control points, hence one small matrix per axis.
    """
    result = control.astype(np.float32)
    for size in shape:
        count = result.shape[0]
        unit = interpolate.make_interp_spline(np.arange(count), np.eye(count), k=3)
        matrix = unit(np.linspace(0, count - 1, size)).astype(np.float32)
        # Contracting the first axis and appending the new one cycles through all three.
        result = np.tensordot(result, matrix, axes=(0, 1))
    return result


def random_field(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: float, voxel: float = 1.0
) -> np.ndarray:
    """Return a smooth random field of about unit variance, control points `spacing` mm apart."""
    counts = [max(4, round(size * voxel / spacing) + 1) for size in shape]
    return spread(rng.standard_normal(counts), shape)


def draw_anatomy(
    template: Template, rng: np.random.Generator, age: float, male: bool, lesion: bool
) -> Anatomy:
    """Draw a person's anatomy; with the same generator and another age, the same person aged."""
    scale = (MALE_SCALE if male else 1.0) + rng.normal(0, 0.012) + rng.normal(0, 0.006, 3)
    coarse = tuple(-(-size // COARSE) for size in template.brain.shape)
    elastic = [random_field(rng, coarse, ELASTIC_SPACING, COARSE) for _ in range(3)]
    individual = rng.normal(0, 0.3)
    ageing = (age - 20.0) / 65.0
    growth = np.interp(ageing, (0.0, 1.0), GROWTH_MM) + individual
    return Anatomy(
        centre=template.centre,
        scale=scale,
        displacement=ELASTIC_MM * np.stack(elastic) + growth * _into_ventricles(template),
        ageing=ageing,
        lesion=_draw_lesion(template, rng) if lesion else None,
    )


def _into_ventricles(template: Template) -> np.ndarray:
    blurred = ndimage.gaussian_filter(template.ventricles.astype(np.float32), VENTRICLE_BLUR / 2)
    direction = np.stack(np.gradient(blurred))
    step = COARSE // 2
    direction = direction[:, ::step, ::step, ::step]
    return direction / np.sqrt((direction**2).sum(axis=0)).max()


def _draw_lesion(template: Template, rng: np.random.Generator) -> Lesion:
    """Place a tumour in deep white matter of one hemisphere's upper half."""
    x, _, z = np.indices(template.depth.shape)
    middle = template.centre / 2
    deep = (template.depth > 14) & (template.depth < 32)
    white = template.inside[::2, ::2, ::2] > (template.levels.gm + template.levels.wm) / 2
    places = np.argwhere(deep & white & (np.abs(x - middle[0]) > 10) & (z > middle[2]))
    if not len(places):
        raise UserError("phantom: the template has no deep white matter to place a lesion in")
    return Lesion(
        centre=places[rng.integers(len(places))] * 2.0,
        radius=float(rng.uniform(8.0, 15.0)),
        irregularity=rng.standard_normal((2, 5, 5, 5)),
    )


def lesion_maps(template: Template, lesion: Lesion) -> tuple[Box, dict[str, np.ndarray]]:
    """Return a box of the template and in it soft maps of necrotic core, enhancing rim, oedema."""
    reach = int(np.ceil(2.6 * lesion.radius))
    box = _box(lesion.centre - reach, lesion.centre + reach, template.brain.shape)
    grid = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"))
    distance = np.sqrt(((grid - lesion.centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0))
    bumpy = distance * (1 + 0.15 * spread(lesion.irregularity[0], distance.shape))
    frayed = distance * (1 + 0.30 * spread(lesion.irregularity[1], distance.shape))
    tumour = _sigmoid((lesion.radius - bumpy) / 0.6)
    core = _sigmoid((0.7 * lesion.radius - bumpy) / 0.6)
    white = np.clip((template.inside[box] - 0.5) / 0.3, 0, 1)
    maps = {
        "core": core,
        "rim": np.clip(tumour - core, 0, 1),
        "oedema": _sigmoid((1.7 * lesion.radius - frayed) / 1.5) * (1 - tumour) * white,
    }
    return box, {name: part * template.brain[box] for name, part in maps.items()}


def _box(low: np.ndarray, high: np.ndarray, shape: tuple[int, ...]) -> Box:
    first = np.maximum(low, 0).astype(int)
    last = np.minimum(np.asarray(high) + 1, shape).astype(int)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return x, y, z


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


@functools.lru_cache(maxsize=1)
def load_template(head: Path, brain: Path) -> Template:
    """Read a whole head and its skull-stripped twin (any orientation, 1 mm).

    Raises:
        UserError: when a file cannot be read, is not 3D at 1 mm, or the two do not share a grid.
    """
    whole, whole_affine = _read(head)
    stripped, affine = _read(brain)
    if whole.shape != stripped.shape or not np.allclose(whole_affine, affine, atol=1e-3):
        raise UserError(f"phantom: {head} and {brain} are not on one grid: take a matching pair")
    mask = stripped > 0
    if not mask.any() or mask.all():
        raise UserError(f"phantom: {brain} is not skull-stripped: voxels around it must be 0")
    csf, gm, wm = tissue_means(stripped[mask])
    # The two files differ by an offset; without it the background of the head is black.
    offset = float(np.median(whole[mask] - stripped[mask]))
    depth = ndimage.distance_transform_edt(
        ndimage.binary_closing(mask[::2, ::2, ::2], iterations=2), sampling=2.0
    )
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.7)
    places = np.argwhere(depth > 0) * 2
    return Template(
        inside=stripped / wm,
        outside=np.maximum(whole - offset, 0) / wm,
        brain=soft,
        near=ndimage.gaussian_filter(soft, 2.0, truncate=2.5),
        levels=Levels(csf / wm, gm / wm),
        box=_box(places.min(axis=0) - MARGIN, places.max(axis=0) + MARGIN, mask.shape),
        depth=depth,
        ventricles=_lateral_ventricles(stripped[::2, ::2, ::2] < (csf + gm) / 2, depth, brain),
    )


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        image = nib.as_closest_canonical(nib.load(path))
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, nib.filebasedimages.ImageFileError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"phantom: {path} cannot be read as NIfTI: {reason}") from error
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3 or not np.allclose(image.header.get_zooms()[:3], 1.0, atol=1e-3):
        raise UserError(f"phantom: {path} must be one 3D volume at 1 mm to be a template")
    return data, image.affine


def tissue_means(values: np.ndarray) -> tuple[float, float, float]:
    """Fit three Gaussians to brain intensities by expectation maximisation on their histogram.

    Returns:
        The means of cerebrospinal fluid, grey and white matter, ascending, in units of `values`.
    """
    counts, edges = np.histogram(values, 256)
    level = ((edges[:-1] + edges[1:]) / 2)[:, None]
    mean = np.percentile(values, (8, 45, 88))
    deviation = np.full(3, values.std() / 3)
    weight = np.full(3, 1 / 3)
    for _ in range(100):
        density = weight / deviation * np.exp(-0.5 * ((level - mean) / deviation) ** 2)
        share = counts[:, None] * density / np.maximum(density.sum(axis=1, keepdims=True), 1e-30)
        mass = share.sum(axis=0)
        weight, mean = mass / mass.sum(), (share * level).sum(axis=0) / mass
        spread_ = np.sqrt((share * (level - mean) ** 2).sum(axis=0) / mass)
        deviation = np.maximum(spread_, np.diff(edges)[0])
    csf, gm, wm = np.sort(mean)
    return float(csf), float(gm), float(wm)


def _lateral_ventricles(dark: np.ndarray, depth: np.ndarray, where: Path) -> np.ndarray:
    labels, count = ndimage.label(dark & (depth > VENTRICLE_DEPTH))
    if not count:
        raise UserError(f"phantom: {where} has no ventricles deep inside: it cannot be a template")
    return labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
