"""Figure A2: what was asked for against what is measured, and one noise at every asked value."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecFromSubplotSpec

from wfdm.config.volumes import VolumeSettings
from wfdm.data.volumes import UNIT, load_scan
from wfdm.evaluation.controls import SAMPLES, TEST, TRAIN, TRUTH, text
from wfdm.figures import panels
from wfdm.figures.planes import axial

LOOKS = {
    TRAIN: ("Real training scans", "0.75", "o"),
    TEST: ("Real test scans", "0.35", "s"),
    TRUTH: ("Phantoms without a scanner", "tab:green", "x"),
    SAMPLES: ("Samples, told", "tab:blue", "."),
}
NOT_TOLD = "Samples, not told"
SIDE = 2.4
"""inches of a plot"""
FOOT = 0.55
"""inches of the legend below"""


def figure_a2(
    measured: pd.DataFrame,
    fields: Mapping[str, Sequence[float | str]],
    measures: Sequence[str],
    settings: VolumeSettings,
    stem: Path | str,
    dpi: int,
) -> tuple[Path, Path]:
    """Draw a row of plots for each field, a plot a measure, and below it the first noise's samples.

    Args:
        measured: columns kind, field, value, draw, path and the measures in mL. A real scan has a
            row for each field, with what is recorded.
        fields: the values that were asked for.
        measures: columns to plot.
        settings: of the tensor that every model sees.
        stem: path of the files without suffix.
        dpi: of the PNG.

    Returns:
        The paths of the PDF and the PNG.
    """
    across = max(len(measures), *(len(values) + 1 for values in fields.values()))
    with mpl.rc_context(panels.STYLE):
        width, height = SIDE * max(3, len(measures)), 1.75 * SIDE * len(fields) + FOOT
        figure = Figure(figsize=(width, height))
        grid = figure.add_gridspec(
            *(2 * len(fields), 1),
            height_ratios=[1, 0.6] * len(fields),
            hspace=0.4,
            left=0.6 / width,
            right=1 - 0.1 / width,
            top=1 - 0.1 / height,
            bottom=FOOT / height,
        )
        for place, (field, values) in enumerate(fields.items()):
            own = measured[measured["field"] == field]
            plots = _row(grid[2 * place].subgridspec(1, len(measures), wspace=0.5))
            for axis, measure in zip(plots, measures, strict=True):
                _plot(axis, own, field, [text(value) for value in values], measure)
            images = _row(grid[2 * place + 1].subgridspec(1, across, wspace=0.03))
            _images(images, own, field, ["", *(text(value) for value in values)], settings)
        shown = dict(zip(*reversed(plots[0].get_legend_handles_labels()), strict=True))
        figure.legend(shown.values(), shown.keys(), loc="lower center", ncols=3, fontsize=7)
        return panels.save(figure, Path(stem), dpi)


def _row(grid: GridSpecFromSubplotSpec) -> list[Axes]:
    return list(np.asarray(grid.subplots(squeeze=False))[0])


def _plot(axis: Axes, own: pd.DataFrame, field: str, values: list[str], measure: str) -> None:
    category = not all(_is_number(value) for value in values)
    for kind, (name, colour, marker) in LOOKS.items():
        asked = own["value"].isin(values) if category else own["value"] != ""
        part = own[(own["kind"] == kind) & asked]
        if part.empty:
            continue
        x = part["value"].map(values.index) if category else part["value"].astype(float)
        axis.plot(x, part[measure], marker, color=colour, ms=3, label=name, ls="")
    alike = own[(own["kind"] == SAMPLES) & (own["value"] == "")][measure]
    axis.axhspan(alike.min(), alike.max(), color="tab:orange", alpha=0.2, lw=0, label=NOT_TOLD)
    if category:
        axis.set_xticks(range(len(values)), values)
        axis.set_xlim(-0.5, len(values) - 0.5)
    axis.set_xlabel(field)
    axis.set_ylabel(f"{measure}, mL")


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _images(
    axes: list[Axes], own: pd.DataFrame, field: str, values: list[str], settings: VolumeSettings
) -> None:
    """Show the first noise without the field and with each value of it."""
    samples = own[own["kind"] == SAMPLES]
    first = samples[samples["draw"] == samples["draw"].min()].set_index("value")["path"]
    for axis in axes:
        axis.set_axis_off()
    for axis, value in zip(axes, values, strict=False):
        volume = load_scan({"path": first[value], "range": UNIT}, settings)
        axis.imshow(axial(volume), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(f"{field} {value}" if value else f"{field} not told", fontsize=6, pad=2)
