"""HD-BET in every setting against deepbet, on raw sessions: Dice, volumes, seconds, pictures.

    export MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000  # as the rule
    python benchmarks/hd_bet.py --raw DATA/raw --threads 2 --settings full bf16 brain one deepbet

For each session with a T1w the reference is registered to SRI-24 (2 mm), then each setting finds
the brain: `full` is BrainScape's (5 folds, 8 mirror images, the whole field, float32), `bf16` the
same in bfloat16, `brain` the same in the box that holds every brain, `one` a single fold without
mirror images (and `one-brain`, `one-bf16` in the box). Wall seconds need a quiet machine; CPU
seconds hold on a busy one. A setting that is done is read back, so the work can be cut off and
continued.
"""

import argparse
import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
from hardware import describe

from wfdm.config.preprocess import HdBetSettings, PreprocessSettings
from wfdm.data.grid import sri24_grid
from wfdm.data.volumes import read_image
from wfdm.preprocess.extraction.extractors import Resources, extractor_of
from wfdm.preprocess.placing import dice
from wfdm.preprocess.quality.pictures import Row, write_picture
from wfdm.preprocess.registration import region_around, rigid
from wfdm.preprocess.similarity import resample

ONE = {"folds": [0], "mirror": False}
SETTINGS = {
    "full": {},
    "bf16": {"precision": "bfloat16"},
    "brain": {"field": "brain"},
    "one": ONE,
    "one-brain": ONE | {"field": "brain"},
    "one-bf16": ONE | {"field": "brain", "precision": "bfloat16"},
}


def extractor(name: str, assets: Path, threads: int):
    if name == "deepbet":
        return extractor_of(PreprocessSettings(extractor="deepbet"), Resources())
    settings = PreprocessSettings(hd_bet=HdBetSettings(**SETTINGS[name]))
    weights = [assets / f"{asset}.model" for asset in settings.weights]
    return extractor_of(settings, Resources(weights, threads))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--assets", type=Path, default=Path("resources/assets"))
    parser.add_argument("--work", type=Path, default=Path("results/benchmarks/hd_bet"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/hd_bet.csv"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--settings", nargs="+", default=["full", "bf16", "brain", "one", "deepbet"]
    )
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)

    head = read_image(arguments.assets / "sri24-head.nii")
    brain = np.asarray(read_image(arguments.assets / "sri24.nii").dataobj) > 0
    fine = sri24_grid(1.0)
    times = arguments.work / "times.csv"
    rows = pd.read_csv(times).to_dict("records") if times.is_file() else []
    for path in sorted(arguments.raw.glob("**/anat/*_T1w.nii*")):
        if "ce-" in path.name:
            continue
        session = path.name.split("_T1w")[0]
        image = read_image(path)
        moved = arguments.work / f"{session}_matrix.npy"
        if not moved.is_file():
            np.save(moved, rigid(head, image, region_around(brain), 2.0, 1, session).matrix)
        whole = resample(image, np.load(moved), fine)
        for name in arguments.settings:
            file = arguments.work / f"{session}_{name}.npy"
            if not file.is_file():
                wall, cpu = time.perf_counter(), time.process_time()
                mask = extractor(name, arguments.assets, arguments.threads).extract(whole)
                rows.append(
                    {
                        **{"session": session, "setting": name, "threads": arguments.threads},
                        "wall_s": round(time.perf_counter() - wall, 1),
                        "cpu_s": round(time.process_time() - cpu, 1),
                        "hardware": describe(),
                    }
                )
                np.save(file, mask)
                pd.DataFrame(rows).to_csv(times, index=False)
                print(rows[-1], flush=True)
            mask = np.load(file)
            row = Row("T1w", image, whole, whole * mask)
            write_picture(arguments.work / f"{session}_{name}.png", [row], mask, brain, 1.0)
    report(rows, arguments.work, brain).to_csv(arguments.out, index=False)


def report(rows: list[dict], work: Path, brain: np.ndarray) -> pd.DataFrame:
    """Return the rows with volumes and Dice with the full setting, deepbet and the atlas."""

    def overlap(mask: np.ndarray, session: str, other: str) -> float | None:
        file = work / f"{session}_{other}.npy"
        return round(dice(mask, np.load(file)), 5) if file.is_file() else None

    made = []
    for row in rows:
        mask = np.load(work / f"{row['session']}_{row['setting']}.npy")
        made.append(
            {
                **{key: row[key] for key in ("session", "setting", "threads", "wall_s", "cpu_s")},
                "mL": round(mask.sum() / 1000, 1),
                "dice_full": overlap(mask, row["session"], "full"),
                "dice_deepbet": overlap(mask, row["session"], "deepbet"),
                "dice_atlas": round(dice(mask, brain), 4),
                "hardware": row["hardware"],
            }
        )
    return pd.DataFrame(made)


if __name__ == "__main__":
    main()
