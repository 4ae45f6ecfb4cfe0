"""Figure 1: the configured model with its true shapes, read off a pass through it.

The pass runs on torch's meta device: every layer reports the shape it makes, nothing is computed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from wfdm.config.base import Size
from wfdm.config.compressors import Architecture, WaveletFusion
from wfdm.config.denoisers import UNetSettings
from wfdm.data.metadata import load_schema
from wfdm.errors import UserError
from wfdm.figures.panels import STYLE, save
from wfdm.models.blocks import SelfAttention
from wfdm.models.compressors.wavelet_fusion import SELECTED, WaveletFusionVAE
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.unet import Denoiser

Shape = tuple[int, ...]
WIDTH, HEIGHT = 0.86, 0.6  # of a box, in columns and rows
COLOURS = {"data": "#f2f2f2", "fixed": "#d8e8f5", "learned": "#fbe3c8", "latent": "#d9efd5"}


@dataclass(frozen=True)
class System:
    """What figure 1 shows.

    Attributes:
        compressor: what it is called.
        architecture: of the compressor.
        generator: what it is called.
        network: of the generator's denoiser.
        steps: of its sampler.
        shape: of a volume, in voxels.
    """

    compressor: str
    architecture: Architecture
    generator: str
    network: UNetSettings
    steps: int
    shape: Size


@dataclass(frozen=True)
class Box:
    """One step of a panel: what it makes, of which shape, at (column, row)."""

    title: str
    shape: Shape | None
    place: tuple[float, float]
    colour: str = "learned"


Boxes = Mapping[str, Box]
Arrows = tuple[tuple[str, str], ...]


def figure1(system: System, stem: Path | str, dpi: int) -> tuple[Path, Path]:
    """Draw both panels of figure 1 for a generator and its compressor.

    Args:
        system: what to draw.
        stem: path of the files without suffix.
        dpi: of the PNG.

    Returns:
        The paths of the PDF and the PNG.

    Raises:
        UserError: the compressor has no wavelet fusion, or sizes do not fit.
    """
    if not isinstance(system.architecture, WaveletFusion):
        raise UserError(
            f"figure 1 shows wavelet fusion, but the compressor of figures.generator is of kind "
            f"'{system.architecture.kind}'; name another generator, or null for no figure 1"
        )
    with torch.device("meta"):
        compressor = WaveletFusionVAE(system.architecture)
        upper = compression(compressor, system.shape)
        latent = upper[0]["z"].shape
        assert latent is not None
        _check_levels(system.network, latent)
        channels, depth, height, width = latent
        denoiser = Denoiser(system.network, (channels, depth, height, width), load_schema())
        lower = diffusion(denoiser, system, latent)
    with mpl.rc_context(STYLE):
        columns = 1 + max(box.place[0] for panel in (upper, lower) for box in panel[0].values())
        figure = Figure(figsize=(1.15 * columns, 6.6))
        top, bottom = figure.subplots(2, 1, height_ratios=[3, 2.4])
        _draw(top, f"A   Stage A: {system.compressor}, {_count(compressor)} parameters", *upper)
        _draw(bottom, f"B   Stage B: {system.generator}, {_count(denoiser)} parameters", *lower)
        figure.subplots_adjust(left=0.01, right=0.99, top=0.95, bottom=0.01, hspace=0.12)
        return save(figure, Path(stem), dpi)


def _check_levels(network: UNetSettings, latent: Shape) -> None:
    if any(side % network.divisor for side in latent[1:]):
        raise UserError(
            f"figure 1: {len(network.channels)} levels of the denoiser need latent sides that "
            f"divide by {network.divisor}, but the latent is {latent[1:]}: use fewer levels"
        )


def compression(module: WaveletFusionVAE, volume: Shape) -> tuple[Boxes, Arrows]:
    """Return panel A: shapes (C, D, H, W) of every step between a volume and its reconstruction."""
    made = _shapes(module, lambda: module.decode(module.encode(torch.zeros(1, 1, *volume))[0]))
    half = tuple(side // 2 for side in volume)
    fused = made["encoder.deep.0.input"]
    boxes = {
        "v": Box("volume v", (1, *volume), (0, 2), "data"),
        "c1": Box("c(1) = W(v)\neq. 4, fixed", (8, *half), (1, 1), "fixed"),
        "w1": Box("w(1) = Π1(c(1))\neq. 5", made["encoder.project1"], (2, 1)),
        "e1": Box(f"encoder\n{_blocks(module.encoder.shallow)}", made["encoder.shallow"], (3, 1)),
        "c2": Box("c(2) = W(S(c(1)))\nfixed", made["encoder.project2.input"], (2, 0), "fixed"),
        "w2": Box("w(2) = Π2(c(2))\neq. 6", made["encoder.project2"], (3, 0)),
        "cat": Box("fusion: w(2) beside\nhalved features", fused, (4, 0)),
        "e2": Box(f"encoder\n{_blocks(module.encoder.deep)}", made["encoder.deep"], (5, 0)),
        "z": Box("z: mean, std\n1x1x1 convolutions", made["to_mean"], (6, 0), "latent"),
        "d2": Box(f"decoder\n{_blocks(module.decoder.deep)}", made["decoder.deep"], (7, 0)),
        "d1": Box(f"decoder\n{_blocks(module.decoder.shallow)}", made["decoder.shallow"], (8, 1)),
        "p2": Box("predicted c(2)", made["decoder.predict2"], (8, 0)),
        "s": Box("W⁻¹(c(2)): the\nselected bands", (SELECTED, *half), (9, 0), "fixed"),
        "p1": Box("predicted c(1)", made["decoder.predict1"], (9, 1)),
        "sum": Box("fusion: selected\nbands added", made["decoder.predict1"], (10, 1), "fixed"),
        "out": Box("W⁻¹: reconstruction", made["decoder"], (11, 2), "data"),
    }
    text = "v-c1 c1-w1 w1-e1 c1-c2 c2-w2 e1-cat w2-cat cat-e2 e2-z z-d2 d2-p2 d2-d1 p2-s d1-p1"
    pairs = [tuple(arrow.split("-")) for arrow in f"{text} p1-sum s-sum sum-out".split()]
    return boxes, tuple((start, end) for start, end in pairs)


def diffusion(module: Denoiser, system: System, latent: Shape) -> tuple[Boxes, Arrows]:
    """Return panel B: shapes of the denoiser's levels for a latent (C, d, h, w)."""
    fields = len(load_schema().fields)
    time, modality = torch.zeros(1), torch.zeros(1, dtype=torch.long)
    conditions = Conditions(modality, torch.zeros(1, fields), torch.zeros(1, fields))
    made = _shapes(module, lambda: module(torch.zeros(1, *latent), time, conditions))
    network = system.network
    blocks, last = f"{network.res_blocks} ResBlocks", len(network.channels) - 1
    boxes = {
        "v": Box("volume v", (1, *system.shape), (0, 2), "data"),
        "z0": Box("encoder (A),\nscaled: z0", latent, (0, 1), "latent"),
        "zt": Box("z_t: z0 and noise\n(sampling: noise)", latent, (1, 1), "latent"),
        "meta": Box(
            f"time, modality,\n{fields} fields, mask:\ninto every block", (module.width,), (1, 0)
        ),
    }
    levels = [
        *((f"down {n + 1}", n, f"down_blocks.{n}.resnets.0") for n in range(last + 1)),
        ("middle", last, "middle_block.resnet_1"),
        *((f"up {n + 1}", n, f"up_blocks.{last - n}.resnets.0") for n in range(last, -1, -1)),
    ]
    arrows, before = [("v", "z0"), ("z0", "zt"), ("meta", levels[0][0])], "zt"
    for place, (name, level, block) in enumerate(levels, start=2):
        attention = network.attention[level] or name == "middle"
        title = f"{name}: {blocks}" if name != "middle" else f"{name}: 2 ResBlocks"
        title = title.replace(": ", "\n") + (",\nattention" if attention else "")
        boxes[name] = Box(title, made[block], (place, 1))
        arrows.append((before, name))
        before = name
    end = len(levels) + 2
    boxes["z"] = Box(f"denoised z0:\n{system.steps} steps", latent, (end, 1), "latent")
    boxes["out"] = Box("decoder (A):\nsynthetic volume", boxes["v"].shape, (end, 2), "data")
    return boxes, (*arrows, (before, "z"), ("z", "out"))


def _shapes(module: nn.Module, run: Callable[[], object]) -> dict[str, Shape]:
    """Return the shape, without its batch axis, that each submodule makes; NAME.input it takes."""
    made: dict[str, Shape] = {}

    def note(name: str) -> Callable[[nn.Module, tuple, object], None]:
        def hook(_: nn.Module, inputs: tuple, output: object) -> None:
            if inputs and isinstance(inputs[0], torch.Tensor):
                made[f"{name}.input"] = tuple(inputs[0].shape[1:])
            if isinstance(output, torch.Tensor):
                made[name] = tuple(output.shape[1:])

        return hook

    hooks = [
        child.register_forward_hook(note(name)) for name, child in module.named_modules() if name
    ]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return made


def _blocks(level: nn.Module) -> str:
    """Return what a level consists of, in words."""
    children = list(level.children())
    attentions = sum(isinstance(child, SelfAttention) for child in children)
    told = f"{len(children) - attentions} ResBlocks"
    return f"{told},\nself-attention" if attentions else told


def _count(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters() if p.requires_grad):,}"


def _draw(axis: Axes, title: str, boxes: Boxes, arrows: Arrows) -> None:
    axis.set_axis_off()
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    columns = [box.place[0] for box in boxes.values()]
    axis.set_xlim(min(columns) - 0.5, max(columns) + 0.5)
    axis.set_ylim(-0.5, 2.5)
    for start, end in arrows:
        _arrow(axis, boxes[start].place, boxes[end].place)
    for box in boxes.values():
        x, y = box.place
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        patch = FancyBboxPatch(
            corner, WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=COLOURS[box.colour], edgecolor="0.3", linewidth=0.7,
        )  # fmt: skip
        axis.add_patch(patch)
        text = box.title if box.shape is None else f"{box.title}\n{' x '.join(map(str, box.shape))}"
        axis.text(x, y, text, ha="center", va="center", fontsize=5.4, linespacing=1.25)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow from box to box, from the side that faces the other."""
    up = end[1] - start[1]
    if up == 0:
        tail, head = (start[0] + WIDTH / 2, start[1]), (end[0] - WIDTH / 2, end[1])
    else:
        side = HEIGHT / 2 if up > 0 else -HEIGHT / 2
        tail, head = (start[0], start[1] + side), (end[0], end[1] - side)
    axis.annotate("", head, tail, arrowprops={"arrowstyle": "->", "color": "0.4", "linewidth": 0.7})
