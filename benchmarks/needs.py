"""What each rule needs at the study's size, beside what it declares: the table of docs/cluster.md.

    python -m benchmarks.needs       # makes the plan of the whole study, writes the table

A job's time is its start and its items times a rate of `results/rates.csv`; where a model works,
also seconds of one H100 (`results/gpu/full_size.json`). What runs on a GPU but was timed on a CPU
alone is extrapolated: its CPU-seconds divided by the gain of what was timed on both.
`tests/workflow/test_plan.py` holds that every rule declares SAFETY times what it needs.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan, prod, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from benchmarks.page import put
from benchmarks.rates_read import Rates
from wfdm.config.baselines import PublishedSystem
from wfdm.config.study import Study
from wfdm.data.assets import find
from wfdm.stages import rows as rows_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/cluster.md"
SAFETY = 1.5
SESSIONS, PROCESSES = 29_139, 8
LATENT = (4, 48, 56, 40)
START = 60  # seconds until a job works, where that was not timed
MEASURED, H100, BOUND = "measured", "CPU measured, GPU on an H100", "extrapolated"


@dataclass(frozen=True)
class Need:
    """What a rule's jobs need.

    Attributes:
        rule: its name.
        jobs: in the whole study.
        items: that all jobs work on together.
        cpu: CPU-seconds of an item.
        mb: peak memory of a job in MB.
        how: where the numbers are from.
        start: CPU-seconds of a job besides.
        gpu: GPU-seconds of an item.
        disk_mb: what an item leaves on disk, in MB.
        threads: that share the CPU-seconds of an item, or of the items.
        largest: items of the largest job, where chance does not decide it.
    """

    rule: str
    jobs: int
    items: float
    cpu: float
    mb: float
    how: str = MEASURED
    start: float = 0
    gpu: float = 0
    disk_mb: float = 0
    threads: int = 1
    largest: float | None = None

    @property
    def minutes(self) -> float:
        """Minutes of the largest job: by chance some shards hold more than their share."""
        mean = self.items / self.jobs
        most = self.largest or (mean + 3 * sqrt(mean) if self.jobs > 1 else mean)
        return (self.start + most * (self.cpu / self.threads + self.gpu)) / 60

    @property
    def cpu_hours(self) -> float:
        """CPU-hours of all jobs; a thread waits for the GPU."""
        return (self.jobs * self.start + self.items * (self.cpu + self.gpu)) / 3600

    @property
    def gpu_hours(self) -> float:
        """GPU-hours of all jobs."""
        return self.items * self.gpu / 3600


def needs(study: Study) -> list[Need]:
    """Return what the rules need for the paper's scans, in the order of the work.

    Left out are `phantom`, which only the demo has, `asset`, which waits for the network, and the
    published systems of table 4, none of which was timed on a GPU.
    """
    study, rates = resolved(study), Rates()
    return [*_data(study, rates), *_models(study, rates), *_judged(study, rates)]


def resolved(study: Study) -> Study:
    """Return the study as it is where no published system is placed."""
    systems = [name for name, row in study.generators.items() if isinstance(row, PublishedSystem)]
    return rows_of.resolved(study, (), systems)


def _counts() -> dict[str, int]:
    """Return the paper's scans: all, and by split."""
    table = pd.read_csv(ROOT / "config/published/table1.csv").set_index("key").loc["Total"]
    return {name: int(table[name]) for name in ("Total", "Train", "Val", "Test")}


def rows(r: Rates, rule: str, jobs: int, items: float, name: str, **more) -> Need:
    """Return the need of a rule that was measured per item as it is."""
    whole = {"largest": 1} if items == jobs else {}
    more = {"disk_mb": r.disk(name), "start": r.start(name)} | whole | more
    return Need(rule, jobs, items, r.cpu(name), r.mb(name), **more)


def _data(study: Study, r: Rates) -> Iterator[Need]:
    scans, shards, train = _counts()["Total"], study.shards, _counts()["Train"]
    for rule in ("index", "coverage", "split"):
        yield rows(r, rule, 1, 1, rule)
    yield rows(r, "manifest", 1, scans, "manifest")
    # As if every session were raw and HD-BET had no GPU: each on a thread of its own.
    yield Need(
        "preprocess", shards, SESSIONS, r.cpu("preprocess raw"),
        1000 + PROCESSES * r.mb("preprocess raw"), MEASURED, START,
        disk_mb=r.disk("preprocess") * scans / SESSIONS, threads=PROCESSES,
    )  # fmt: skip
    for rule in ("quality", "volumes"):
        yield rows(r, rule, 1, 1, rule)
    yield rows(r, "image_hash", shards, scans, "image-hash")
    yield rows(r, "near_duplicates", 1, 1, "near-duplicates")
    yield rows(r, "mean_volumes", 1, train, "mean-volumes", disk_mb=0)


def _models(study: Study, r: Rates) -> Iterator[Need]:
    """Trainings, latents and samples."""
    scans, shards, tested = _counts()["Total"], study.shards, _counts()["Test"]
    trained = [row.training for row in study.compressors.values() if row.training]
    checks = study.compressor_training
    judged = checks.validation_scans / checks.validate_every  # scans per step
    reconstruct = r.h100["reconstruct, wf-sa-vae, bf16"]["whole"] + r.cpu("load")
    step = r.h100["stage A step, batch 2"]["whole"] + judged * reconstruct
    # Steps were timed for WF-SA-VAE; in bfloat16 MAISI's network takes so many times as long.
    longest = r.h100["sample, maisi, bf16"]["decode"] / r.h100["sample, wfdm, bf16"]["decode"]
    yield Need(
        "train_compressor", len(study.compressors), sum(each.steps for each in trained), 0,
        r.workers(checks.threads - 2), BOUND, START, step, largest=longest * checks.steps,
    )  # fmt: skip
    latent = {row.compressor for row in study.denoisers.values()}
    halves = 2 * 2 * prod(LATENT) / 1e6  # mean and deviation, of two bytes
    yield Need(
        "encode", len(latent) * shards, len(latent) * scans, r.cpu("load"), r.model_mb, H100,
        START, r.encode, halves,
    )  # fmt: skip
    yield rows(r, "latents", len(latent), len(latent) * scans, "latents", disk_mb=0)
    trainings = [row.training for row in study.denoisers.values()]
    batches = max(t.validation_scans / t.batch_size / t.validate_every for t in trainings)
    step = r.h100["stage B step, batch 8"]["whole"] * (1 + batches)
    steps, threads = [t.steps for t in trainings], max(t.threads for t in trainings)
    yield Need(
        "train_denoiser", len(steps), sum(steps), 0, r.workers(threads - 2), H100, START, step,
        largest=max(steps),
    )  # fmt: skip
    many = len(study.generators)
    # A sampler may take 20 times as many steps as another; what is no diffusion takes none.
    sampled = [getattr(row, "steps", 0) * r.step + r.decode for row in study.generators.values()]
    mean, mine = sum(sampled) / many, tested / shards
    yield Need(
        "sample", many * shards, many * tested, r.cpu("write"), r.model_mb, H100,
        START, mean, r.disk("write"), largest=(mine + 3 * sqrt(mine)) * max(sampled) / mean,
    )  # fmt: skip
    yield rows(r, "samples", many, many, "join")


def _judged(study: Study, r: Rates) -> Iterator[Need]:
    """Metrics, tables and figures."""
    shards, tested = study.shards, _counts()["Test"]
    coders, many, load = len(study.compressors), len(study.generators), r.cpu("load")
    compared = r.on_gpu("floors", 1) / 2 + r.on_gpu("lpips", 0)  # floors compares a scan twice

    def on_gpu(rule: str, jobs: int, items: float, gpu: float, name: str, loads=1, **more) -> Need:
        given = {"mb": r.mb(name, "lpips"), "disk_mb": r.disk(name)} | more
        return Need(rule, jobs, items, loads * load, how=BOUND, start=START, gpu=gpu, **given)

    yield on_gpu("floors", shards, tested, 2 * compared, "floors")
    coded = r.encode + r.decode
    large = float(np.max([r.model_mb, r.mb("floors", "lpips")]))
    yield on_gpu(
        *("reconstruction", coders * shards, coders * tested, compared + coded, "floors"), mb=large
    )
    yield rows(r, "join", coders + 1, coders + 1, "join")
    cohorts, work = 1 + many, r.on_gpu("features", 1)
    yield on_gpu("features", cohorts * shards, cohorts * tested, work, "features")
    pairs, jobs = 4 * study.evaluation.diversity_pairs * many, many * shards
    work = r.on_gpu("diversity", 2)
    yield on_gpu("diversity", jobs, pairs, work, "diversity", 2, largest=pairs / jobs)
    yield rows(r, "synthesis", many, many, "synthesis")
    yield _timing(study, r)
    yield rows(r, "table1", 1, 1, "coverage")
    of_modality = {"table8to11": 4, "table12to15": 4, "table16to19": 4}
    numbers = (f"table{number}" for number in range(2, 8))
    for rule in (*numbers, *of_modality, "metrics"):
        jobs = of_modality.get(rule, 1)
        yield rows(r, rule, jobs, jobs, "table3")
    hashed = r.mb("image-hash")
    yield Need("figure1", 1, 1, START, r.mb("features"), BOUND)
    yield on_gpu("figure2", 1, 4, coders * coded, "features", mb=r.model_mb)
    for rule, jobs in (("figure3", 1), ("figure4to7", 4)):
        yield Need(rule, jobs, 4 * (1 + many), load, hashed, BOUND, START)


def _timing(study: Study, r: Rates) -> Need:
    """Tables 6 and 7: warm-ups and timed volumes of each generator."""
    names = {*rows_of.table6(study), *rows_of.table7(study).values()}
    seconds = [getattr(study.generators[name], "steps", 0) * r.step + r.decode for name in names]
    volumes, mean = study.timing.warm_ups + study.timing.repeats, float(np.mean(seconds))
    return Need(
        "timing", len(names), len(names) * volumes, 0, r.model_mb, H100, START, mean,
        largest=volumes * max(seconds) / mean,
    )  # fmt: skip


def wanting(found: list[Need], declared: dict[str, dict[str, int]]) -> list[str]:
    """Return a line for each rule that declares too little, and for each that nobody counted.

    What was not measured (NaN) is never little enough.
    """
    told = [f"{rule}: no rate" for rule in declared.keys() - {need.rule for need in found} - FREE]
    for need in found:
        asked = declared[need.rule]
        for name, much in (("runtime", need.minutes), ("mem_mb", need.mb)):
            if not SAFETY * much <= asked[name]:
                told.append(f"{need.rule}: {name} {asked[name]}, needs {SAFETY} x {much:.0f}")
        if bool(need.gpu) != bool(asked["gpu"]):
            told.append(f"{need.rule}: gpu {asked['gpu']}, works {need.gpu} s an item there")
    return sorted(told)


FREE = {"asset", "phantom", "all", "tables", "figures", "snapshot", "differences", "pages"}


def table(found: list[Need], declared: dict[str, dict[str, int]]) -> str:
    """Return the table as Markdown."""
    lines = [
        "| rule | jobs | CPU-hours | GPU-hours | minutes: needs, asks | GB: needs, asks | disk GB "
        "| how |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for need in found:
        asked, disk = declared[need.rule], need.items * need.disk_mb / 1000
        minutes = f"{_short(need.minutes)}, {asked['runtime']}"
        memory = f"{_short(need.mb / 1000)}, {asked['mem_mb'] / 1000:g}"
        lines.append(
            f"| `{need.rule}` | {need.jobs} | {_short(need.cpu_hours)} | {_short(need.gpu_hours)} "
            f"| {minutes} | {memory} | {_short(disk)} | {need.how} |"
        )
    sums = [
        np.nansum(column)
        for column in zip(
            *((n.jobs, n.cpu_hours, n.gpu_hours, n.items * n.disk_mb / 1000) for n in found),
            strict=True,
        )
    ]
    jobs, cpu, gpu, disk = (f"{total:.0f}" for total in sums)
    lines.append(f"| all | {jobs} | {cpu} | {gpu} | | | {disk} | |")
    return "\n".join(lines) + "\n"


def _short(number: float) -> str:
    """Return a number with two figures; nothing for nothing, "?" for what was not measured."""
    if isnan(number):
        return "?"
    if number >= 10:
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 0.1 else ("< 0.1" if number else "")


def plan(study: Path, *targets: str) -> dict[str, dict[str, int]]:
    """Return what the jobs of a study's plan ask for, by rule (`declared`)."""
    command = [sys.executable, "-m", "benchmarks.declared", *targets, "--configfile", str(study)]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, check=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def overlaid(more: dict) -> dict[str, dict[str, int]]:
    """Return what the plan of the whole study asks for, as if compressors' weights were placed.

    Args:
        more: settings over the study's.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for row in Study().compressors.values():
            if row.pretrained:
                (folder / find(row.pretrained).file).touch()
        overlay = folder / "study.yaml"
        source = {"kind": "brainscape", "path": name}
        content = {"assets": name, "results": f"{name}/results", "sources": [source]}
        overlay.write_text(yaml.safe_dump(content | more))
        return plan(overlay, "all", "snapshot")


def main() -> None:
    """Write the table into the page."""
    declared, found = overlaid({}), needs(Study())
    put(PAGE, "benchmarks/needs.py", table(found, declared))
    print(*wanting(found, declared), sep="\n")


if __name__ == "__main__":
    main()
