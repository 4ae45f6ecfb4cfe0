"""Figure A4: realism, and distance from many steps, against network passes."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wfdm.evaluation.few_steps_columns import DISTANCE, FLOOR, PASSES
from wfdm.figures import panels

SIDE = 3.0
"""inches of a plot"""
FOOT = 0.9
"""inches of the legend below"""
DASHES = ("--", ":", "-.", (0, (1, 3)))


def figure_a4(table: pd.DataFrame, stem: Path | str, dpi: int) -> tuple[Path, Path]:
    """Draw FID with its interval, and the distance of latents, by network passes.

    A line stands for a denoiser with a sampler, a horizontal one for a reference: a level that no
    number of passes is needed for.

    Args:
        table: table A4, numbers as numbers; rows without network passes are references.
        stem: path of the files without suffix.
        dpi: of the PNG.

    Returns:
        The paths of the PDF and the PNG.
    """
    asked = table[table[PASSES].notna()]
    levels = table[table[PASSES].isna()]
    with mpl.rc_context(panels.STYLE):
        width, height = 2.4 * SIDE, SIDE + FOOT
        figure = Figure(figsize=(width, height))
        realism, nearness = figure.subplots(1, 2)
        figure.subplots_adjust(
            left=0.6 / width,
            right=1 - 0.1 / width,
            top=1 - 0.1 / height,
            bottom=(FOOT + 0.15) / height,
            wspace=0.3,
        )
        for (denoiser, sampler), rows in asked.groupby(["Denoiser", "Sampler"], sort=False):
            own = rows.sort_values(PASSES)
            name = f"{denoiser}, {sampler}"
            (line,) = realism.plot(own[PASSES], own["FID"], "o-", ms=3, label=name)
            ends = own[["FID low", "FID high"]].to_numpy().T
            realism.fill_between(own[PASSES], *ends, color=line.get_color(), alpha=0.12, lw=0)
            nearness.plot(own[PASSES], own[DISTANCE], "o-", ms=3, color=line.get_color())
        for (_, row), dash in zip(levels.iterrows(), DASHES, strict=False):
            realism.axhline(row["FID"], color="0.4", lw=1, ls=dash, label=row["Model"])
        floor = asked[FLOOR].iloc[0]
        nearness.axhline(floor, color="tab:red", lw=1, ls="--", label="Another noise")
        _finished(realism, "FID")
        _finished(nearness, "Latent distance from many steps")
        shown = [axis.get_legend_handles_labels() for axis in (realism, nearness)]
        handles, names = (shown[0][part] + shown[1][part] for part in (0, 1))
        figure.legend(handles, names, loc="lower center", ncols=3, fontsize=6)
        return panels.save(figure, Path(stem), dpi)


def _finished(axis: Axes, name: str) -> None:
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("Network passes of a sample")
    axis.set_ylabel(name)
