"""What a session costs: where the time goes, against BrainScape's sequence, on 1 and 2 cores.

    python benchmarks/session_cost.py throughput --raw DATA/raw   # CPU seconds, paired per file
    python benchmarks/session_cost.py parts --raw DATA/raw        # where the time of a session goes
    python benchmarks/session_cost.py cores --raw DATA/raw        # same bytes on 1 and on 2 cores?

`throughput` registers every scan of each raw session by `wfdm.preprocess.registration` (1 mm) and
by the sequence that BrainScape runs with the same library at its defaults: reference to atlas,
each mover to the reference, and again in atlas space. CPU seconds on one thread; the two poses of
a scan are compared by the mean displacement of the brain's points. `parts` and `cores` run a whole
session in a process of its own at full resolution with one fold of HD-BET (`--extractor deepbet`
for the other); `cores` takes its mirror images too, bound to one processor and to two.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"

import nibabel as nib
import numpy as np
import pandas as pd
from hardware import describe

from wfdm.config.preprocess import HdBetSettings, PreprocessSettings
from wfdm.data.grid import sri24_grid
from wfdm.data.volumes import read_image
from wfdm.preprocess.derivatives import by_priority
from wfdm.preprocess.registration import region_around, rigid
from wfdm.preprocess.shard import ENVIRONMENT
from wfdm.preprocess.similarity import resample
from wfdm.preprocess.transforms import ants, read_transform, to_ants

SCANS = 45_880  # of the paper's snapshot


def sessions(raw: Path) -> dict[str, dict[str, Path]]:
    """Return {session: {modality: path}} of a BIDS folder."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(raw.glob("**/anat/*.nii*")):
        stem, suffix = path.name.split(".nii")[0].rsplit("_", 1)
        name = "T1Gd" if "ce-" in stem else suffix
        found.setdefault(stem.split("_ce-")[0], {})[name] = path
    return {key: {name: scans[name] for name in by_priority(scans)} for key, scans in found.items()}


def throughput(arguments: argparse.Namespace) -> None:
    head = read_image(arguments.assets / "sri24-head.nii")
    brain = np.asarray(read_image(arguments.assets / "sri24.nii").dataobj) > 0
    region, grid = region_around(brain), sri24_grid(1.0)
    inside = np.argwhere(brain)[::200]
    points = grid.affine @ np.c_[inside, np.ones(len(inside))].T
    rows = []
    for session, scans in sessions(arguments.raw).items():
        images = {name: read_image(path) for name, path in scans.items()}
        reference = next(iter(images))
        ours: dict[str, np.ndarray] = {}
        theirs: dict[str, np.ndarray] = {}
        warped = None
        for name, image in images.items():
            start = time.process_time()
            if name == reference:
                ours[name] = rigid(head, image, region, 1.0, 1, name).matrix
                fixed = nib.Nifti1Image(resample(image, ours[name], grid), grid.affine)
            else:
                ours[name] = rigid(fixed, image, region, 1.0, 1, name).matrix
            row = {"session": session, "scan": name, "cpu_s": time.process_time() - start}
            start = time.process_time()
            if name == reference:
                theirs[name], warped = run(to_ants(head, np.eye(4)), image)
            else:
                to_reference, _ = run(to_ants(images[reference], np.eye(4)), image)
                placed = to_reference @ theirs[reference]
                moved = nib.Nifti1Image(resample(image, placed, grid), grid.affine)
                correction, _ = run(warped, moved)
                theirs[name] = placed @ correction
            row["brainscape_cpu_s"] = time.process_time() - start
            apart = np.linalg.norm(((ours[name] - theirs[name]) @ points)[:3], axis=0).mean()
            row |= {"apart_mm": apart, "hardware": describe()}
            rows.append({key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()})
            print(rows[-1], flush=True)
            pd.DataFrame(rows).to_csv(arguments.out / "throughput.csv", index=False)
    table = pd.DataFrame(rows)
    for label in ("cpu_s", "brainscape_cpu_s"):
        mean = table[label].mean()
        print(f"{label}: {3600 / mean:.0f} scans per core-hour, {SCANS}: {SCANS * mean / 3600:.0f}")


def run(fixed, moving: nib.Nifti1Image) -> tuple[np.ndarray, object]:
    """Return the matrix and the moved image of ANTs' Rigid at its defaults."""
    done = ants().registration(fixed, to_ants(moving, np.eye(4)), type_of_transform="Rigid")
    return read_transform(Path(done["fwdtransforms"][0])), done["warpedmovout"]


def command(
    arguments: argparse.Namespace, scans: dict[str, Path], out: Path, threads: int, mirror: bool
) -> list:
    """Return the command that preprocesses one session at full resolution."""
    settings = PreprocessSettings(
        extractor=arguments.extractor, hd_bet=HdBetSettings(folds=[0], mirror=mirror)
    )
    weights = [str(arguments.assets / f"{name}.model") for name in settings.weights]
    given = {
        "scans": {name: str(path) for name, path in scans.items()},
        "settings": settings.model_dump(mode="json"),
        "weights": weights,
        "threads": threads,
        "assets": str(arguments.assets),
        "out": str(out),
    }
    return [sys.executable, "-c", SESSION, json.dumps(given)]


SESSION = """
import json, sys
from pathlib import Path
from wfdm.config.preprocess import PreprocessSettings
from wfdm.preprocess import session
from wfdm.preprocess.extraction.extractors import Resources
given = json.loads(sys.argv[1])
session.preprocess_session(
    {name: Path(path) for name, path in given["scans"].items()},
    Path(given["out"]),
    "sub-1",
    PreprocessSettings(**given["settings"]),
    42,
    Path(given["assets"]) / "sri24.nii",
    Path(given["assets"]) / "sri24-head.nii",
    resources=Resources([Path(path) for path in given["weights"]], given["threads"]),
)
"""


def parts(arguments: argparse.Namespace) -> None:
    """Profile the command of each session in a process of its own; report seconds and memory."""
    rows = []
    for session, scans in sessions(arguments.raw).items():
        with tempfile.TemporaryDirectory() as folder:
            done = command(arguments, scans, Path(folder), 1, mirror=False)
            profile = Path(folder) / "profile.json"
            done[2] = PROFILED.format(path=str(profile), session=SESSION)
            subprocess.run(list(map(str, done)), check=True, env=os.environ | ENVIRONMENT)
            spent = Counter(json.loads(profile.read_text()))
        rows.append({"session": session, "scans": len(scans), **spent, "hardware": describe()})
        print(rows[-1], flush=True)
        pd.DataFrame(rows).to_csv(arguments.out / f"parts_{arguments.extractor}.csv", index=False)


PROFILED = """
import dataclasses, json, resource, time
begin = time.process_time()
import wfdm.preprocess.session as session
spent = {{}}
def clocked(inner, label):
    def outer(*args, **more):
        start = time.process_time()
        try:
            return inner(*args, **more)
        finally:
            spent[label] = spent.get(label, 0) + time.process_time() - start
    return outer
for name, label in (("read_image", "read"), ("rigid", "register"), ("resample", "resample"),
                    ("normalise", "normalise"), ("_write", "write"), ("write_picture", "picture")):
    setattr(session, name, clocked(getattr(session, name), label))
make = session.extractor_of
def made(*args):
    extractor = make(*args)
    return dataclasses.replace(extractor, extract=clocked(extractor.extract, "extract"))
session.extractor_of = made
exec({session!r})
spent["total"] = time.process_time() - begin
spent = {{name: round(value, 2) for name, value in spent.items()}}
spent["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
json.dump(spent, open({path!r}, "w"))
"""


def cores(arguments: argparse.Namespace) -> None:
    """Run the first session bound to one processor and to two; compare every file."""
    (_, scans), *_ = sessions(arguments.raw).items()
    found = []
    for processors in ("0", "0,1"):
        with tempfile.TemporaryDirectory() as folder:
            count = processors.count(",") + 1
            done = command(arguments, scans, Path(folder), count, mirror=True)
            line = ["taskset", "-c", processors, *done]
            start = time.perf_counter()
            subprocess.run(list(map(str, line)), check=True, env=os.environ | ENVIRONMENT)
            print(f"{count} core(s): {time.perf_counter() - start:.0f} s", flush=True)
            found.append({path.name: content(path) for path in sorted(Path(folder).iterdir())})
    names = [name for name in found[0] if not name.endswith(".prov.json")]
    rows = [{"file": name, "identical": found[0][name] == found[1][name]} for name in names]
    table = pd.DataFrame(rows).assign(extractor=arguments.extractor, hardware=describe())
    table.to_csv(arguments.out / f"cores_{arguments.extractor}.csv", index=False)
    print(table.to_string())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GB")


def content(path: Path) -> bytes:
    """Return a file's bytes; of an image those of its array."""
    if path.name.endswith(".nii.gz"):
        return np.asarray(nib.load(path).dataobj).tobytes()
    return path.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("throughput", "parts", "cores"))
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--assets", type=Path, default=Path("resources/assets"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--extractor", choices=("hd-bet", "deepbet"), default="hd-bet")
    arguments = parser.parse_args()
    {"throughput": throughput, "parts": parts, "cores": cores}[arguments.what](arguments)


if __name__ == "__main__":
    main()
