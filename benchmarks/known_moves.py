"""Rigid registration against moves that are known, and against BrainScape's sequence.

    python benchmarks/known_moves.py --brainscape 14

Heads of four contrasts are made from the SRI-24 template (`wfdm.phantom.contrasts`), so that all of
them share one anatomy, and scanned twice: upright, and after a random rigid move of up to 25
degrees and 30 mm, in cubes of 1 mm or in slices of 5 mm, with a bias field and Rician noise (SNR
20). Every move is registered by `wfdm.preprocess.registration.rigid` as a session does it (finest
level 1 mm); with `--brainscape N`, the first N also by the sequence that BrainScape runs: ANTs
Rigid at the library's defaults from mover to reference, then again in the reference's space on the
interpolated mover. The error is the mean displacement of the brain's points, in mm.
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

from wfdm.data.grid import sri24_grid
from wfdm.data.volumes import read_image
from wfdm.phantom import anatomy
from wfdm.phantom.anatomy import Anatomy
from wfdm.phantom.contrasts import contrast
from wfdm.preprocess.registration import region_around, rigid
from wfdm.preprocess.similarity import resample
from wfdm.preprocess.transforms import ants, read_transform, to_ants
from wfdm.seeds import generator_for, seed_for

PAIRS = [  # moving onto fixed
    *(("T1w", "T1w"), ("T2w", "T2w"), ("FLAIR", "FLAIR"), ("T1Gd", "T1Gd")),
    *(("T2w", "T1w"), ("FLAIR", "T1w"), ("T1Gd", "T1w")),
]
VOXELS = {"1 mm": (1.0, 1.0, 1.0), "5 mm slices": (1.0, 1.0, 5.0)}
FIELD_MM = (230, 260, 230)
SEED = 4


def heads(assets: Path) -> dict[str, nib.Nifti1Image]:
    """Return one head per contrast on the SRI-24 grid, all of the same anatomy."""
    template = anatomy.load_template(assets / "sri24-head.nii", assets / "sri24.nii")
    coarse = tuple(-(-size // anatomy.COARSE) for size in template.brain.shape)
    person = Anatomy(template.centre, np.ones(3), np.zeros((3, *coarse)), 0.3, None)
    affine = sri24_grid(1.0).affine
    return {
        name: nib.Nifti1Image(
            contrast(template, person, name, generator_for(SEED, "vessels")), affine
        )
        for name in ("T1w", "T2w", "T1Gd", "FLAIR")
    }


def draw_move(rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    """Return a rigid matrix about `centre`: at most 25 degrees about any axis, 30 mm anywhere."""
    axis, direction = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(axis * rng.uniform(0, 25), degrees=True).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + direction * rng.uniform(0, 30)
    return matrix


def acquire(
    head: nib.Nifti1Image, move: np.ndarray, voxel: tuple, rng: np.random.Generator
) -> nib.Nifti1Image:
    """Scan `head` after `move`: slice profile, field of view about the head, bias, noise."""
    shape = tuple(int(np.ceil(mm / size)) for mm, size in zip(FIELD_MM, voxel, strict=True))
    affine = np.diag([*voxel, 1.0])
    middle = head.affine @ [*(np.array(head.shape) - 1) / 2, 1]
    affine[:3, 3] = middle[:3] - np.array(voxel) * (np.array(shape) - 1) / 2
    oblique = np.eye(4)
    oblique[:3, :3] = Rotation.from_rotvec(rng.normal(0, 3, 3), degrees=True).as_matrix()
    affine = oblique @ affine
    x = np.linalg.inv(head.affine) @ np.linalg.inv(move) @ affine
    i, j, k = (a.astype(np.float32) for a in np.indices(shape, sparse=True))
    at = [row[0] * i + row[1] * j + row[2] * k + row[3] for row in x[:3]]
    at[2] = np.maximum(at[2], 0)  # the template goes on below its lowest slice: a neck, not a cut
    blur = np.sqrt(np.maximum(np.square(voxel) - 1, 0)) / 2.355
    smooth = ndimage.gaussian_filter(np.asarray(head.dataobj), blur)
    image = ndimage.map_coordinates(smooth, at, order=1)
    field = anatomy.random_field(rng, shape, 70.0, float(np.mean(voxel)))
    image *= 1 + 0.2 * field / np.abs(field).max()
    noise = rng.standard_normal((2, *shape), dtype=np.float32) / 20
    return nib.Nifti1Image(np.hypot(image + noise[0], noise[1]).astype(np.float32), affine)


def brainscape(fixed: nib.Nifti1Image, moving: nib.Nifti1Image) -> np.ndarray:
    """Return the matrix of co-registration and correction, each ANTs' Rigid at its defaults."""
    target = to_ants(fixed, np.eye(4))
    mover = to_ants(moving, np.eye(4))
    first = ants().registration(target, mover, type_of_transform="Rigid")
    second = ants().registration(target, first["warpedmovout"], type_of_transform="Rigid")
    matrices = [read_transform(Path(run["fwdtransforms"][0])) for run in (first, second)]
    return matrices[0] @ matrices[1]


def error_mm(found: np.ndarray, truth: np.ndarray, points: np.ndarray) -> float:
    """Return the mean displacement of `points` (4, n) between two matrices, in mm."""
    return float(np.linalg.norm(((found - truth) @ points)[:3], axis=0).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=Path("resources/assets"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/known_moves.csv"))
    parser.add_argument("--cases", type=int, default=56)
    parser.add_argument("--brainscape", type=int, default=14)
    parser.add_argument("--finest", type=float, default=1.0, help="finest level, in mm")
    arguments = parser.parse_args()

    brain = np.asarray(read_image(arguments.assets / "sri24.nii").dataobj) > 0
    grid = sri24_grid(1.0)
    region = region_around(brain)
    inside = np.argwhere(brain)[::200]
    points = grid.affine @ np.c_[inside, np.ones(len(inside))].T
    made = heads(arguments.assets)
    combinations = [(m, f, v) for v in VOXELS for m, f in PAIRS]
    rows = []
    for case in range(arguments.cases):
        moving, fixed, voxel = combinations[case % len(combinations)]
        rng = generator_for(SEED, "move", case)
        truth = draw_move(rng, points[:3].mean(axis=1))
        reference = acquire(made[fixed], np.eye(4), VOXELS[voxel], rng)
        mover = acquire(made[moving], truth, VOXELS[voxel], rng)
        row = {"case": case, "moving": moving, "fixed": fixed, "voxels": voxel}
        row["degrees"] = round(np.degrees(Rotation.from_matrix(truth[:3, :3]).magnitude()), 1)
        row["mm"] = round(error_mm(truth, np.eye(4), points), 1)
        start = time.process_time()
        on_grid = nib.Nifti1Image(resample(reference, np.eye(4), grid), grid.affine)
        found = rigid(
            on_grid, mover, region, arguments.finest, seed_for(SEED, case), f"case {case}"
        )
        row["cpu_s"] = round(time.process_time() - start, 2)
        row["error_mm"] = round(error_mm(found.matrix, truth, points), 3)
        row |= {"similarity": round(found.similarity, 4), "start": found.start}
        if case < arguments.brainscape:
            start = time.process_time()
            matrix = brainscape(reference, mover)
            row["brainscape_cpu_s"] = round(time.process_time() - start, 2)
            row["brainscape_error_mm"] = round(error_mm(matrix, truth, points), 3)
        rows.append(row)
        print(row, flush=True)
        pd.DataFrame(rows).to_csv(arguments.out, index=False)


if __name__ == "__main__":
    main()
