"""Rigid registration of whole heads with a neck in a field of 256 mm, moved as is known.

    python benchmarks/necks.py --raw ../shared/data/raw

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
from wfdm.preprocess.registration import region_around, rigid
from wfdm.preprocess.similarity import resample
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
    head: nib.Nifti1Image, move: np.ndarray, top: np.ndarray, rng: np.random.Generator
) -> nib.Nifti1Image:
    """Scan `head` after `move`, in a field whose upper edge lies 15 mm above `top`."""
    shape = tuple(int(np.ceil(mm / size)) for mm, size in zip(FIELD_MM, VOXEL_MM, strict=True))
    affine = np.diag([*VOXEL_MM, 1.0])
    affine[:3, 3] = (move @ [*top, 1])[:3] - [FIELD_MM[0] / 2, FIELD_MM[1] / 2, FIELD_MM[2] - 15]
    voxels = np.linalg.inv(head.affine) @ np.linalg.inv(move) @ affine
    image = ndimage.affine_transform(
        np.asarray(head.dataobj), voxels[:3, :3], voxels[:3, 3], output_shape=shape, order=1
    )
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


def pose(
    atlas: nib.Nifti1Image, raw: Path, name: str, region: nib.Nifti1Image, finest: float
) -> np.ndarray:
    """Return how a raw scan lies on the atlas, by way of its session's T1w."""

    def register(fixed: nib.Nifti1Image, moving: nib.Nifti1Image, starts=None) -> np.ndarray:
        return rigid(fixed, moving, region, finest, seed_for(SEED, name), name, starts).matrix

    paths = sorted((raw / name).parent.glob("*_T1w.nii*"))
    reference = next(path for path in paths if "_ce-" not in path.name)
    scan, grid = read_image(raw / name), sri24_grid(1.0)
    image = read_image(reference)
    found = register(atlas, image)
    if reference == raw / name:
        return found
    placed = nib.Nifti1Image(resample(image, found, grid), grid.affine)
    carried = register(placed, scan)
    return register(atlas, scan, {"by the session's T1w": lambda _: [carried]})


def asked() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=Path("resources/assets"))
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/necks.csv"))
    parser.add_argument("--finest", type=float, default=1.0, help="finest level, in mm")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cases")
    return parser.parse_args()


def main() -> None:
    arguments = asked()

    brain = np.asarray(read_image(arguments.assets / "sri24.nii").dataobj) > 0
    atlas = read_image(arguments.assets / "sri24-head.nii")
    grid, region = sri24_grid(1.0), region_around(brain)
    inside = np.argwhere(brain)[::200]
    points = grid.affine @ np.c_[inside, np.ones(len(inside))].T
    middle = points[:3].mean(axis=1)
    crown = np.array([*middle[:2], points[2].max(), 1])
    poses: dict[str, np.ndarray] = {"SRI-24": np.eye(4)}
    rows = pd.read_csv(arguments.out).to_dict("records") if arguments.out.is_file() else []
    left = set(arguments.only or range(40)) - {row["case"] for row in rows}
    for number, (name, cm, kind) in enumerate(cases(arguments.raw)):
        if number not in left:
            continue
        head = atlas if name == "SRI-24" else read_image(arguments.raw / name)
        if name not in poses:
            poses[name] = pose(atlas, arguments.raw, name, region, arguments.finest)
        rng = generator_for(SEED, "neck", number)
        own = poses[name]
        move = draw_move(rng, (own @ [*middle, 1])[:3])
        scan = acquire(with_neck(head, 10 * cm, kind), move, (own @ crown)[:3], rng)
        away = np.eye(4)
        away[:3, 3] = rng.uniform(-20, 20, 3) - (scan.affine @ [*np.array(scan.shape) / 2, 1])[:3]
        scan = nib.Nifti1Image(np.asarray(scan.dataobj), away @ scan.affine)
        row = {"case": number, "head": Path(name).name, "neck_cm": cm, "kind": kind}
        degrees = np.degrees(Rotation.from_matrix(move[:3, :3]).magnitude())
        row |= {
            "degrees": round(float(degrees), 1),
            "mm": round(error_mm(move @ own, own, points), 1),
        }
        draw, start = seed_for(SEED, number), time.process_time()
        try:
            found = rigid(atlas, scan, region, arguments.finest, draw, f"case {number}")
        except SessionError as error:
            row |= {"cpu_s": round(time.process_time() - start, 2), "error_mm": np.inf}
            row |= {"start": str(error).split(";")[0]}
        else:
            row["cpu_s"] = round(time.process_time() - start, 2)
            row["error_mm"] = round(error_mm(found.matrix, away @ move @ own, points), 3)
            row |= {"similarity": round(found.similarity, 4), "start": found.start}
        rows.append(row)
        print(row, flush=True)
        pd.DataFrame(rows).to_csv(arguments.out, index=False)


if __name__ == "__main__":
    main()
