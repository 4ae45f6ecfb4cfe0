"""Lay a session on the atlas: its reference on the template, its other scans on the reference."""

from collections.abc import Mapping
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from wfdm.config.cohort import Modality
from wfdm.config.preprocess import PreprocessSettings
from wfdm.data.grid import sri24_grid
from wfdm.errors import SessionError
from wfdm.preprocess.brains import rigid_brains
from wfdm.preprocess.extraction.extractors import Extractor
from wfdm.preprocess.registration import OF_ONE_HEAD, ON_ATLAS, Rigid, rigid
from wfdm.preprocess.similarity import moments, resample, smoothed
from wfdm.preprocess.starts import Start, laid_on_axes
from wfdm.seeds import seed_for

# Dice of mask and atlas brain. Real sessions (MS, tumours): 0.92-0.98; a head that lies on its
# side: below 0.7.
OVERLAP = 0.75


@dataclass(frozen=True)
class Template:
    """What scans are laid on: a whole head or a brain; its brain at 1 mm, where a match counts."""

    head: nib.Nifti1Image
    brain: np.ndarray
    region: nib.Nifti1Image


@dataclass(frozen=True)
class Placed:
    """A session in atlas space: each scan's head on the study's grid, and the mask at 1 mm.

    `left_out` tells why of each scan that could not be laid on the reference.
    """

    heads: dict[Modality, np.ndarray]
    mask: np.ndarray
    registered: dict[Modality, Rigid]
    left_out: dict[Modality, str]


@dataclass(frozen=True)
class Placing:
    """What a session is laid on the atlas with.

    Attributes:
        images: by modality, the reference first.
        template: what the reference is registered to.
        brains: an extractor, or the reference's own mask: heads are registered as heads then.
        settings: the study's `preprocess` section.
        seed: the session's.
        prefix: BIDS entities of the session, for messages and seeds.
    """

    images: Mapping[Modality, nib.Nifti1Image]
    template: Template
    brains: Extractor | nib.Nifti1Image
    settings: PreprocessSettings
    seed: int
    prefix: str

    @property
    def reference(self) -> Modality:
        """The modality that the others are registered to."""
        return next(iter(self.images))

    def match(
        self, fixed: nib.Nifti1Image, name: Modality, starts: Mapping[str, Start] | None = None
    ) -> Rigid:
        """Register one scan to `fixed`. Raises SessionError where that fails from every start."""
        draw = seed_for(self.seed, "register", self.prefix, name)
        moving, region = self.images[name], self.template.region
        finest, told = self.settings.registration_mm, f"{self.prefix}, {name}"
        if isinstance(self.brains, Extractor):
            bounds = ON_ATLAS if name == self.reference else OF_ONE_HEAD
            return rigid(fixed, moving, region, finest, draw, told, starts=starts, bounds=bounds)
        return rigid_brains(fixed, moving, region, finest, draw, told, starts=starts)

    def at(self, mm: float, found: Rigid) -> np.ndarray:
        """Return the reference, registered so, on the SRI-24 grid of that voxel size."""
        return resample(self.images[self.reference], found.matrix, sri24_grid(mm))

    def brain(self, whole: np.ndarray, found: Rigid) -> np.ndarray:
        """Return the brain of the reference, which is `whole` at 1 mm when registered so."""
        if isinstance(self.brains, Extractor):
            return self.brains.extract(whole)
        return resample(self.brains, found.matrix, sri24_grid(1.0)) > 0.5


def place(placing: Placing) -> Placed:
    """Register every scan and find the brain.

    Raises:
        SessionError: the reference cannot be registered; another scan is left out alone.
    """
    reference, *movers = placing.images
    registered, whole, mask = _reference(placing)
    made, settings = {1.0: whole}, placing.settings
    finest = settings.registration_mm
    if finest not in made:
        made[finest] = placing.at(finest, registered)
    fixed = nib.Nifti1Image(made[finest], sri24_grid(finest).affine)
    matches, left_out = {reference: registered}, {}
    for name in movers:
        try:
            matches[name] = placing.match(fixed, name)
        except SessionError as error:  # a slab, say: the others of the session are as they were
            left_out[name] = str(error)

    def finished(name: Modality) -> np.ndarray:
        image, spacing = placing.images[name], settings.spacing
        if settings.antialias:
            image = smoothed(image, spacing)
        elif name == reference and spacing in made:
            return made[spacing]
        return resample(image, matches[name].matrix, sri24_grid(spacing))

    return Placed({name: finished(name) for name in matches}, mask, matches, left_out)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Return Dice's overlap 2 |a and b| / (|a| + |b|) of two boolean arrays."""
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def _reference(placing: Placing) -> tuple[Rigid, np.ndarray, np.ndarray]:
    """Return how the reference lies, and then it and its brain at 1 mm.

    A mask that hardly overlaps the atlas brain tells that the reference lies wrongly whatever its
    similarity says: it is then registered again, its brain laid on the atlas brain by their
    middles and principal axes.
    """
    template, reference = placing.template, placing.reference
    found = placing.match(template.head, reference)
    whole = placing.at(1.0, found)
    mask = placing.brain(whole, found)
    if mask.any() and dice(mask, template.brain) < OVERLAP:
        turns = laid_on_axes(*(moments(_points(body)) for body in (template.brain, mask)))
        poses = [found.matrix @ turn for turn in turns]
        starts = {"brain's principal axes": lambda _: poses}
        found = placing.match(template.head, reference, starts=starts)
        whole = placing.at(1.0, found)
        mask = placing.brain(whole, found)
    return found, whole, mask


def _points(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask on the 1 mm SRI-24 grid as points (3, n) in mm."""
    voxels = np.argwhere(mask)
    return (sri24_grid(1.0).affine @ np.c_[voxels, np.ones(len(voxels))].T)[:3]
