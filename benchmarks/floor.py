"""The floor: operations and bytes of each part at the study's size, and the time they must take.

    python -m benchmarks.floor        # counts, and writes docs/speed.md's table

Operations are counted by torch on tensors without storage: products, convolutions and attention, a
multiplication and an addition each. Bytes are the least that must move: all weights once, and what
goes in and comes out of every layer once, in the type that is computed in. The least time is the
larger of operations over the peak rate and bytes over the bandwidth. Shares are of the times that
were measured on an H100 (`results/gpu/full_size.json`).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.page import put
from wfdm.config.study import Study
from wfdm.data.metadata import load_schema
from wfdm.models.compressors import registry
from wfdm.models.denoisers.unet import Denoiser

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/speed.md"
BYTES = {"bf16": 2, "tf32": 4, "float32": 4}
META = torch.device("meta")


@dataclass(frozen=True)
class Chip:
    """A chip by its data sheet: dense operations per second by arithmetic, bytes per second."""

    name: str
    peak: dict[str, float]
    bandwidth: float


H100 = Chip("H100 SXM", {"bf16": 989e12, "tf32": 495e12, "float32": 67e12}, 3.35e12)
H200 = Chip("H200", H100.peak, 4.8e12)
# Two cores of AVX2: 2 units x 8 numbers x 2 operations at about 3 GHz each; two channels of DDR4.
CPU = Chip("2 cores, AVX2", {"float32": 2 * 32 * 3e9}, 40e9)


@dataclass(frozen=True)
class Part:
    """What one call of a part takes: operations, those of them in attention, numbers moved."""

    name: str
    operations: float
    attention: float
    numbers: float

    def least(self, chip: Chip, arithmetic: str) -> float:
        """Return the seconds that it must take."""
        moved = self.numbers * BYTES[arithmetic] / chip.bandwidth
        return max(self.operations / chip.peak[arithmetic], moved)


def counted(name: str, model: nn.Module, call: Callable[[], Any]) -> Part:
    """Count one call of a model on the device `meta`."""
    moved = [sum(each.numel() for each in model.parameters())]

    def hook(_: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        moved.extend(each.numel() for each in (*given, made) if isinstance(each, Tensor))

    leaves = [part for part in model.modules() if not list(part.children())]
    hooks = [part.register_forward_hook(hook) for part in leaves]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    for each in hooks:
        each.remove()
    kinds = counter.get_flop_counts()["Global"]
    # Without storage torch takes attention apart; nothing else here multiplies batches of matrices.
    attention = sum(
        n for kind, n in kinds.items() if "attention" in str(kind) or "bmm" in str(kind)
    )
    return Part(name, counter.get_total_flops(), attention, sum(moved))


def parts(study: Study) -> list[Part]:
    """Return the parts of one volume at the study's size."""
    denoiser_row = study.denoisers["wfdm"]
    with META:
        z = torch.zeros(1, 4, *(side // 4 for side in study.volume.shape))
        denoiser = Denoiser(denoiser_row.network, tuple(z.shape[1:]), load_schema()).eval()
        volume = torch.zeros(1, 1, *study.volume.shape)
        embedding = torch.zeros(1, 8 * denoiser_row.network.channels[0])
        found = [counted("denoiser, a step", denoiser, lambda: denoiser.answer(z, embedding))]
        for label, row in (("WF-SA-VAE", "wf-sa-vae"), ("MAISI", "vae-gan")):
            model = registry.build(study.compressors[row].architecture).eval()
            found.append(counted(f"{label}, decode", model, lambda m=model: m.decode(z)))
            if row == "wf-sa-vae":
                found.append(counted(f"{label}, encode", model, lambda m=model: m.encode(volume)))
    return found


def measured() -> dict[tuple[str, str], float]:
    """Return the seconds of an H100 by part and arithmetic."""
    rows = json.loads((ROOT / "benchmarks/results/gpu/full_size.json").read_text())["rows"]
    by_name = {row["row"]: row["seconds"] for row in rows if isinstance(row.get("seconds"), dict)}
    found = {}
    for arithmetic in BYTES:
        for kind, label in (("wfdm", "WF-SA-VAE"), ("maisi", "MAISI")):
            seconds = by_name[f"sample, {kind}, {arithmetic}"]
            found[f"{label}, decode", arithmetic] = seconds["decode"]["median"]
            found[f"{label}, a volume of 50 steps", arithmetic] = seconds["whole"]["median"]
        steps = by_name[f"sample, wfdm, {arithmetic}"]["denoise"]["median"] / 50
        found["denoiser, a step", arithmetic] = steps
    encode = by_name["reconstruct, wf-sa-vae, bf16"]["encode"]["median"]
    return found | {("WF-SA-VAE, encode", "bf16"): encode}


def table(found: list[Part]) -> str:
    """Return both tables as Markdown."""
    by_name = {part.name: part for part in found}
    step = by_name["denoiser, a step"]
    for label in ("WF-SA-VAE", "MAISI"):
        decode, name = by_name[f"{label}, decode"], f"{label}, a volume of 50 steps"
        sums = (
            50 * getattr(step, each) + getattr(decode, each)
            for each in ("operations", "attention", "numbers")
        )
        by_name[name] = Part(name, *sums)
    lines = [
        "| part | TFLOP | of it attention | GB in bf16 | H100, bf16 | H200, bf16 | H100, tf32 | "
        "2 cores, AVX2 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for part in by_name.values():
        times = ((H100, "bf16"), (H200, "bf16"), (H100, "tf32"), (CPU, "float32"))
        told = " | ".join(f"{_seconds(part.least(*each))}" for each in times)
        size = f"{part.operations / 1e12:.2f} | {part.attention / 1e12:.2f}"
        lines.append(f"| {part.name} | {size} | {2 * part.numbers / 1e9:.2f} | {told} |")
    lines += [
        "",
        "| part | arithmetic | measured on an H100 | least | achieved |",
        "|---|---|---:|---:|---:|",
    ]
    for (name, arithmetic), seconds in measured().items():
        least = by_name[name].least(H100, arithmetic)
        share = f"{100 * least / seconds:.0f} %"
        lines.append(
            f"| {name} | {arithmetic} | {_seconds(seconds)} | {_seconds(least)} | {share} |"
        )
    return "\n".join(lines) + "\n"


def _seconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def main() -> None:
    """Write the tables into the page."""
    text = table(parts(Study()))
    put(PAGE, "benchmarks/floor.py", text)
    print(text)


if __name__ == "__main__":
    main()
