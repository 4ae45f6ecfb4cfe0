"""What age and sex change in the T1w samples of a trained denoiser, beside the real scans.

    python -m benchmarks.effects RESULTS --out FILE.csv [--denoiser wfdm] [--steps 20]

RESULTS is the results root of a finished study. For ages 20 to 80 and both sexes 40 samples are made,
told both and told neither, each from its own noise. On each volume, ventricles are the dark voxels
(below 0.35) deeper than 25 mm in the brain, and the brain all voxels above 0.1, its largest part
with holes filled. Rows tell Pearson's r of age and ventricles with its 95 % interval (Fisher), their slope,
and the brains of men and women. Real scans say how much there is to be found by this measure.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage, stats

from benchmarks.hardware import describe
from wfdm.atomic import write_text
from wfdm.config.files import read_study
from wfdm.config.generators import SamplerSettings
from wfdm.data.table import read_scans, read_table
from wfdm.data.volumes import load_standardised
from wfdm.generators.latent_diffusion import load
from wfdm.generators.protocol import Request

DARK, BRIGHT, DEEP_MM = 0.35, 0.1, 25.0
AGES = np.linspace(20, 80, 20)
SEED = 3
Row = tuple[float, str, float, float]
"""age, sex, mL of ventricles, mL of brain"""


def measured(volume: np.ndarray, spacing: float) -> tuple[float, float]:
    """Return mL of ventricles and of brain in a volume in [0, 1]."""
    parts, count = ndimage.label(volume > BRIGHT)
    sizes = ndimage.sum_labels(parts > 0, parts, range(1, count + 1))
    brain = ndimage.binary_fill_holes(parts == 1 + int(np.argmax(sizes)))
    depth = ndimage.distance_transform_edt(brain, sampling=spacing)
    millilitres = spacing**3 / 1000
    ventricles = (depth > DEEP_MM) & (volume < DARK)
    return float(ventricles.sum() * millilitres), float(brain.sum() * millilitres)


def real(results: Path) -> Iterator[Row]:
    """Yield the study's T1w scans whose age and sex are recorded."""
    study = read_study(results / "study.yaml")
    scans = read_scans(results / "data/scans.tsv").set_index("scan_id")
    volumes = read_table(results / "preprocessed/volumes.tsv")
    for scan, path in zip(volumes["scan_id"], volumes["path"], strict=True):
        told = scans.loc[scan]
        if told["modality"] == "T1w" and told["age"] and told["sex"]:
            volume = load_standardised(path, study.volume)
            found = measured(np.squeeze(volume), study.preprocess.spacing)
            yield float(told["age"]), told["sex"], *found


def sampled(denoiser: Path, steps: int, told: bool) -> Iterator[Row]:
    """Yield samples for every age and sex, which they are told or not."""
    generator = load(denoiser, SamplerSettings(steps=steps))
    asked = [(age, sex) for age in AGES for sex in ("female", "male")]
    requests = [
        Request(f"{sex}-{age:.1f}", "T1w", {"age": f"{age:.1f}", "sex": sex} if told else {})
        for age, sex in asked
    ]
    samples = generator.sample(requests, SEED)
    for (age, sex), sample in zip(asked, samples, strict=True):
        yield age, sex, *measured(np.squeeze(sample.volume), generator.space.spacing)


def summary(name: str, rows: list[Row]) -> dict[str, str]:
    """Return a line of the table."""
    table = pd.DataFrame(rows, columns=["age", "sex", "ventricles", "brain"])
    fit = stats.linregress(table["age"], table["ventricles"])
    low, high = stats.pearsonr(table["age"], table["ventricles"]).confidence_interval()
    brains = table.groupby("sex")["brain"].mean()
    return {
        "scans": name,
        "n": str(len(table)),
        "r of age and ventricles": f"{fit.rvalue:.2f}",
        "r low": f"{low:.2f}",
        "r high": f"{high:.2f}",
        "mL per decade": f"{10 * fit.slope:.2f}",
        "male brain mL": f"{brains['male']:.0f}",
        "female brain mL": f"{brains['female']:.0f}",
    }


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--denoiser", default="wfdm")
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    denoiser = given.results / "denoisers" / given.denoiser
    table = pd.DataFrame(
        [
            summary("real", [*real(given.results)]),
            summary("samples, told age and sex", [*sampled(denoiser, given.steps, True)]),
            summary("samples, told neither", [*sampled(denoiser, given.steps, False)]),
        ]
    )
    print(table.to_string(index=False))
    write_text(given.out, f"# {describe()}\n" + table.to_csv(index=False))


if __name__ == "__main__":
    main()
