"""Table A4: quality against network passes, of a denoiser and of its students."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wfdm.config.generators import DiffusionSettings
from wfdm.evaluation.endpoints import distance, read_endpoints
from wfdm.evaluation.few_steps_columns import DISTANCE, FLOOR, PASSES
from wfdm.tables.synthesis import cells
from wfdm.tables.text import join, number
from wfdm.tables.timing import seconds

SHOWN = ("FID", "FID low", "FID high", "MMD", "MS-SSIM", "n_real", "n_synthetic")
ONE = "latent distance: of scaled latents, from {} from the same noise, as a share of their norm"


@dataclass(frozen=True)
class Few:
    """What is known of one generator.

    Attributes:
        row: of the configuration.
        metrics: CSV of `synthesis_metrics`.
        ends: what stage `endpoints` wrote.
        times: JSON of stage `benchmark`.
    """

    row: DiffusionSettings
    metrics: Path
    ends: Path
    times: Path


def table_a4(
    generators: Mapping[str, Few],
    references: Mapping[str, Path],
    wanted: Path,
    against: str,
    labels: Mapping[str, str],
) -> pd.DataFrame:
    """Return a row for each generator, by denoiser, sampler and passes, then the references.

    Args:
        generators: by name.
        references: CSV of `synthesis_metrics` by name: of no denoiser, on as many volumes.
        wanted: endpoints of the many steps, of two noises.
        against: what these steps are called.
        labels: what each is called in the table, by name.

    Raises:
        UserError: a file cannot be read, or endpoints are not of the same scans.
    """
    many = read_endpoints(wanted)
    told = {FLOOR: number(distance(many, many, draw=1), ".4f"), "n latents": str(len(many))}
    found = []
    for name, few in sorted(generators.items(), key=lambda item: _order(item[1].row)):
        row = few.row
        own = {
            "Model": labels[name],
            "Denoiser": row.denoiser,
            "Sampler": row.sampler,
            "Steps": str(row.steps),
            PASSES: str(row.passes),
            **_metrics(few.metrics),
            DISTANCE: number(distance(read_endpoints(few.ends), many), ".4f"),
            **told,
            **seconds(few.times),
        }
        found.append(own | {"note": join(own.get("note", ""), ONE.format(against))})
    found += [{"Model": labels[name], **_metrics(path)} for name, path in references.items()]
    return pd.DataFrame(found).fillna("")


def _order(row: DiffusionSettings) -> tuple[str, str, int]:
    return row.denoiser, row.sampler, row.passes


def _metrics(path: Path) -> dict[str, str]:
    pooled = cells(path, None)
    return {name: pooled[name] for name in (*SHOWN, "note")}
