"""Rigid registration of whole heads with a neck in a field of 256 mm, moved as is known.

    python benchmarks/necks.py --raw ../shared/data/raw [--session] [--clean]

A sagittal scan of 256 mm shows 4 to 12 cm of neck below the head. Here such scans are made from
the SRI-24 head and from raw scans: their lowest slice is continued downwards, as bright as it is or
brighter (a neck coil), or fading with the distance from the head coil. Then the head is moved (up
to 20 degrees, 25 mm), sampled in a field of 256 x 256 mm with voxels of 1 mm in slices of 1.2 mm,
with a bias field and Rician noise (SNR 20). As on a scanner, the middle of the field is near the
origin of the world, so that the header tells nothing of where in the field the brain is. The error
is the mean displacement of the brain's points, in mm.

How a raw scan itself lies on the atlas nobody knows: for it the benchmark measures whether neck,
move, field and noise change the result. Its pose without them is found as in a study, by way of its
session's T1w: that one on the atlas, the scan on that one, and from there the optimum of the scan
itself on the atlas. (At first it was the scan's own registration. The FLAIR of openms12, without
its session, ended 20 mm off, so that its two cases were measured against a wrong pose.)

With `--session` scans are registered as in a study: the session's T1w, with neck and move of its
own, on the atlas; the scan on that T1w, and its pose without necks is found in the same way. With
`--clean` there is neither bias field nor noise: what is left is neck, move and field.

Cases that stand in the file of results are kept: remove the file to measure them again.
"""

import argparse
import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial.transform import Rotation

from benchmarks.known_moves import error_mm
from wfdm.data.grid import sri24_grid
from wfdm.data.volumes import read_image
from wfdm.errors import SessionError
from wfdm.phantom import anatomy
from wfdm.preprocess.registration import (
    OF_ONE_HEAD,
    ON_ATLAS,
    Bounds,
    Rigid,
    region_around,
    rigid,
)
from wfdm.preprocess.similarity import resample
from wfdm.preprocess.starts import Start
from wfdm.seeds import generator_for, seed_for

FIELD_MM, VOXEL_MM = (192, 256, 256), (1.2, 1.0, 1.0)
NECKS_CM = (4, 6, 8, 10, 12)
KINDS = ("bright", "fading")
FADES_MM = 40.0
SEED = 6


def with_neck(head: nib.Nifti1Image, mm: float, kind: str) -> nib.Nifti1Image:
    """Return `head` (in RAS order) continued by `mm` below the mean of its lowest 6 mm.

    Bright: half as bright again 3 cm below; fading: by exp(-d / 40 mm).
    """
    array = np.asarray(head.dataobj, dtype=np.float32)
    step = float(np.linalg.norm(head.affine[:3, 2]))
    count = int(np.ceil(mm / step))
    lowest = array[..., : max(1, round(6 / step))].mean(axis=2)
    below = step * np.arange(count, 0, -1)  # mm below the head, the lowest slice first
    gain = 1 + 0.5 * np.clip(below / 30, 0, 1) if kind == "bright" else np.exp(-below / FADES_MM)
    affine = head.affine.copy()
    affine[:3, 3] -= affine[:3, 2] * count
    return nib.Nifti1Image(
        np.concatenate([lowest[..., None] * gain.astype(np.float32), array], axis=2), affine
    )


def draw_move(rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    """Return a rigid matrix about `centre`: at most 20 degrees about any axis, 25 mm anywhere."""
    axis, direction = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(axis * rng.uniform(0, 20), degrees=True).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + direction * rng.uniform(0, 25)
    return matrix


def acquire(
    head: nib.Nifti1Image,
    move: np.ndarray,
    top: np.ndarray,
    rng: np.random.Generator,
    clean: bool,
) -> nib.Nifti1Image:
    """Scan `head` after `move`, in a field whose upper edge lies 15 mm above `top`."""
    shape = tuple(int(np.ceil(mm / size)) for mm, size in zip(FIELD_MM, VOXEL_MM, strict=True))
    affine = np.diag([*VOXEL_MM, 1.0])
    affine[:3, 3] = (move @ [*top, 1])[:3] - [FIELD_MM[0] / 2, FIELD_MM[1] / 2, FIELD_MM[2] - 15]
    voxels = np.linalg.inv(head.affine) @ np.linalg.inv(move) @ affine
    image = ndimage.affine_transform(
        np.asarray(head.dataobj), voxels[:3, :3], voxels[:3, 3], output_shape=shape, order=1
    )
    if clean:
        return nib.Nifti1Image(image.astype(np.float32), affine)
    image /= np.percentile(image[image > image.mean()], 50)
    field = anatomy.random_field(rng, shape, 70.0, 1.0)
    image *= 1 + 0.2 * field / np.abs(field).max()
    noise = rng.standard_normal((2, *shape), dtype=np.float32) / 20
    return nib.Nifti1Image(np.hypot(image + noise[0], noise[1]).astype(np.float32), affine)


def cases(raw: Path) -> list[tuple[str, float, str]]:
    """Return head, length of the neck (cm) and kind of 40 cases: each combination on four heads."""
    scans = sorted(str(path.relative_to(raw)) for path in raw.rglob("*.nii.gz"))
    combinations = [(cm, kind) for kind in KINDS for cm in NECKS_CM]
    heads = ["SRI-24"] * 10 + [scans[number % len(scans)] for number in range(30)]
    return [(head, *combinations[number % 10]) for number, head in enumerate(heads)]


class Study:
    """What scans are registered with, and where on the atlas each raw scan lies without a neck."""

    def __init__(self, assets: Path, raw: Path, finest: float, session: bool, clean: bool) -> None:
        brain = np.asarray(read_image(assets / "sri24.nii").dataobj) > 0
        self.atlas = read_image(assets / "sri24-head.nii")
        self.grid, self.region = sri24_grid(1.0), region_around(brain)
        inside = np.argwhere(brain)[::200]
        self.points = self.grid.affine @ np.c_[inside, np.ones(len(inside))].T
        middle = self.points[:3].mean(axis=1)
        self.middle = np.array([*middle, 1])
        self.crown = np.array([*middle[:2], self.points[2].max(), 1])
        self.raw, self.finest, self.session, self.clean = raw, finest, session, clean
        self.poses: dict[str, np.ndarray] = {"SRI-24": np.eye(4)}

    def head(self, name: str) -> nib.Nifti1Image:
        return self.atlas if name == "SRI-24" else read_image(self.raw / name)

    def reference(self, name: str) -> str:
        """Return the T1w of a scan's session."""
        if name == "SRI-24":
            return name
        paths = sorted((self.raw / name).parent.glob("*_T1w.nii*"))
        return str(next(p for p in paths if "_ce-" not in p.name).relative_to(self.raw))

    def register(
        self,
        fixed: nib.Nifti1Image,
        moving: nib.Nifti1Image,
        name: str,
        starts: dict[str, Start] | None = None,
        bounds: Bounds = ON_ATLAS,
    ) -> Rigid:
        seed = seed_for(SEED, name)
        return rigid(fixed, moving, self.region, self.finest, seed, name, starts, bounds)

    def by(self, reference: nib.Nifti1Image, scan: nib.Nifti1Image, name: str) -> Rigid:
        """Register a scan by way of its session's reference."""
        lies = self.register(self.atlas, reference, f"{name}, its T1w").matrix
        placed = nib.Nifti1Image(resample(reference, lies, self.grid), self.grid.affine)
        return self.register(placed, scan, name, bounds=OF_ONE_HEAD)

    def pose(self, name: str) -> np.ndarray:
        """Return how a raw scan lies on the atlas, by way of its session's T1w."""
        if name not in self.poses:
            reference, scan = self.reference(name), self.head(name)
            if reference == name:
                found = self.register(self.atlas, scan, name).matrix
            else:
                found = self.by(self.head(reference), scan, name).matrix
                if not self.session:
                    starts = {"by the session's T1w": lambda _: [found]}
                    found = self.register(self.atlas, scan, name, starts).matrix
            self.poses[name] = found
        return self.poses[name]

    def scanned(
        self, name: str, cm: float, kind: str, rng: np.random.Generator
    ) -> tuple[nib.Nifti1Image, np.ndarray, np.ndarray]:
        """Return a scan with a neck, how it then lies on the atlas, and how it was moved."""
        own = self.pose(name)
        move = draw_move(rng, (own @ self.middle)[:3])
        longer = with_neck(self.head(name), 10 * cm, kind)
        scan = acquire(longer, move, (own @ self.crown)[:3], rng, self.clean)
        away, middle = np.eye(4), scan.affine @ [*np.array(scan.shape) / 2, 1]
        away[:3, 3] = rng.uniform(-20, 20, 3) - middle[:3]
        scan = nib.Nifti1Image(np.asarray(scan.dataobj), away @ scan.affine)
        return scan, away @ move @ own, move

    def row(self, number: int, name: str, cm: float, kind: str) -> dict[str, object]:
        """Measure one case."""
        rng = generator_for(SEED, "neck", number)
        scan, true, move = self.scanned(name, cm, kind, rng)
        own = self.pose(name)
        degrees = np.degrees(Rotation.from_matrix(move[:3, :3]).magnitude())
        row: dict[str, object] = {"case": number, "head": Path(name).name}
        row |= {"neck_cm": cm, "kind": kind, "degrees": round(float(degrees), 1)}
        row["mm"] = round(error_mm(move @ own, own, self.points), 1)
        reference, other = self.reference(name), None
        if self.session and reference != name:
            other, *_ = self.scanned(reference, cm, kind, generator_for(SEED, "its T1w", number))
        what, start = f"case {number}", time.process_time()
        try:
            found = self.by(other, scan, what) if other else self.register(self.atlas, scan, what)
        except SessionError as error:
            row |= {"cpu_s": round(time.process_time() - start, 2), "error_mm": np.inf}
            return row | {"start": str(error).split(";")[0]}
        row["cpu_s"] = round(time.process_time() - start, 2)
        row["error_mm"] = round(error_mm(found.matrix, true, self.points), 3)
        return row | {"similarity": round(found.similarity, 4), "start": found.start}


def asked() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=Path("resources/assets"))
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/necks.csv"))
    parser.add_argument("--finest", type=float, default=1.0, help="finest level, in mm")
    parser.add_argument("--session", action="store_true", help="by way of the session's T1w")
    parser.add_argument("--clean", action="store_true", help="without bias field and noise")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cases")
    return parser.parse_args()


def main() -> None:
    given = asked()
    study = Study(given.assets, given.raw, given.finest, given.session, given.clean)
    rows = pd.read_csv(given.out).to_dict("records") if given.out.is_file() else []
    left = set(given.only or range(40)) - {row["case"] for row in rows}
    for number, case in enumerate(cases(given.raw)):
        if number in left:
            rows.append(study.row(number, *case))
            print(rows[-1], flush=True)
            pd.DataFrame(rows).to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
