"""What it costs to train the published systems on the study's scans, beside WFDM.

    python -m benchmarks.trained_baselines        # counts, and writes docs/baselines.md's table

Operations of one network's pass over one volume are counted as in `benchmarks.floor`; a training
step is three of them (forward, and back to activations and to weights) for each item of its batch.
HA-GAN's step sees slabs, and several networks: each part is counted as often as it is passed. Hours
are no measurement: they are these operations at the rate that WFDM's own training step was measured
to reach on an H100 (0.19 s at batch 8 in bf16, `results/gpu/full_size.json`).
"""

import json
from dataclasses import dataclass
from math import prod

import torch
import yaml

from benchmarks.floor import META, ROOT, counted
from benchmarks.page import put
from wfdm.baselines.hagan_discriminators import Discriminator
from wfdm.baselines.hagan_folder import SLABS, Networks, slab_of, small_of
from wfdm.config.study import Study, merged
from wfdm.data.table import MODALITIES
from wfdm.models.compressors import registry
from wfdm.models.denoisers import folder
from wfdm.models.denoisers.conditions import Conditions

PAGE = ROOT / "docs/baselines.md"
SCANS = 45_880
PASSES = 3  # of a training step


@dataclass(frozen=True)
class Cost:
    """Of one trained system.

    Attributes:
        name: of its row.
        parameters: that a sample needs.
        operations: of one pass over a volume.
        item: operations of one item of a training step.
        batch: items of a step.
        steps: of the training.
        asked: passes of a sample.
        disk: bytes of a scan in a cache of its own.
    """

    name: str
    parameters: int
    operations: float
    item: float
    batch: int
    steps: int
    asked: int
    disk: int

    @property
    def training(self) -> float:
        """Operations of the whole training."""
        return self.item * self.batch * self.steps


def study() -> Study:
    """Return the paper's study with the published systems trained on it."""
    whole = {}
    for name in ("config", "baselines"):
        whole = merged(whole, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()))
    return Study.model_validate(whole)


def costs(whole: Study) -> list[Cost]:
    """Count WFDM and every system that is trained for the comparison."""
    found = []
    for name, row in whole.generators.items():
        if row.kind != "diffusion" or not (name == "wfdm" or name.endswith("-here")):
            continue
        denoiser = whole.denoisers[row.denoiser]
        compressor = registry.build(whole.compressors[denoiser.compressor].architecture)
        factor = compressor.factor
        with torch.no_grad():
            small = compressor.encode(torch.zeros(1, 1, *[2 * factor] * 3))[0]
        latent = (small.shape[1], *(side // factor for side in whole.volume.shape))
        with META:
            network = folder.build(denoiser.network, latent)
            z, t = torch.zeros(1, *latent), torch.zeros(1)
        told = Conditions.of(["T1w"], [{}], None).to(META)
        part = counted(name, network, lambda: network(z, t, told))  # noqa: B023
        training = denoiser.training
        found.append(
            Cost(
                name=name,
                parameters=sum(weight.numel() for weight in network.parameters()),
                operations=part.operations,
                item=PASSES * part.operations,
                batch=training.batch_size,
                steps=training.steps,
                asked=row.steps,
                disk=2 * 2 * prod(latent),  # mean and deviation, half precision
            )
        )
    return [*found, *(of_gan(whole, name) for name in whole.gans)]


def of_gan(whole: Study, name: str) -> Cost:
    """Count a HA-GAN; its item is what `wfdm.baselines.hagan_training` does with one volume."""
    row, modalities = whole.gans[name], len(MODALITIES)
    side, latent = row.network.side, row.network.latent
    with META:
        networks = Networks(row.network)
        judge = Discriminator(side, 16 * row.network.channels, modalities)
        z, told = torch.zeros(1, latent), torch.zeros(1, modalities)
        volume, code = torch.zeros(1, 1, side, side, side), torch.zeros(1, latent + modalities)
        slab, small = slab_of(volume, 0), small_of(volume)
        count = {
            "sample": (networks, lambda: networks.made(z, told)),
            "slab": (networks, lambda: networks.generator.slab(code, 0)),
            "near": (networks, lambda: networks.generator.full(networks.encoder(slab))),
            "whole": (networks, lambda: [networks.encoder(slab) for _ in range(SLABS)]),
            "code": (networks, lambda: networks.code(volume)),
            "judge": (judge, lambda: judge(slab, small, 0.0, told)),
        }
        made = {key: counted(key, *each).operations for key, each in count.items()}
    learned = 2 * made["slab"] + made["near"] + made["code"] - made["whole"]
    # The judge: of the fake one forward and back to it, then of real and fake in full.
    judged = (2 + 2 * PASSES) * made["judge"]
    return Cost(
        name=name,
        parameters=sum(weight.numel() for weight in networks.generator.parameters()),
        operations=made["sample"],
        item=PASSES * learned + made["whole"] + judged,
        batch=row.training.batch_size,
        steps=row.training.steps,
        asked=1,
        disk=0,
    )


def reached(wfdm: Cost) -> float:
    """Return the operations per second that WFDM's measured training step reached."""
    rows = json.loads((ROOT / "benchmarks/results/gpu/full_size.json").read_text())["rows"]
    (row,) = (row for row in rows if row["row"] == "stage B step, batch 8")
    seconds = row["seconds"]["whole"]["median"]
    return wfdm.item * 8 / seconds


def table(found: list[Cost]) -> str:
    """Return the table as Markdown."""
    rate = reached(found[0])
    lines = [
        "| row | parameters, million | TFLOP, one pass | batch | TFLOP, a step | hours for 500,000 "
        "steps | network passes a sample | TFLOP a sample | disk, MB a scan | disk, "
        f"{SCANS:,} scans |",
        "|---|" + "---:|" * 9,
    ]
    for cost in found:
        step, digits = cost.item * cost.batch, 0 if cost.asked > 1 else 2
        lines.append(
            f"| {cost.name} | {cost.parameters / 1e6:.1f} | {cost.operations / 1e12:.2f} "
            f"| {cost.batch} | {step / 1e12:.1f} | {cost.training / rate / 3600:,.0f} "
            f"| {cost.asked} | {cost.asked * cost.operations / 1e12:,.{digits}f} "
            f"| {cost.disk / 1e6:.1f} | {SCANS * cost.disk / 1e12:.2f} TB |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count, and write the table into its page."""
    made = table(costs(study()))
    print(made)
    put(PAGE, "benchmarks/trained_baselines.py", made)


if __name__ == "__main__":
    main()
