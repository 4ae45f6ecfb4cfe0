"""What each stage of the study costs per item, at the study's size: CPU-seconds, memory, disk.

    python -m benchmarks.rates FOLDER [--only NAME ...]

writes its inputs under FOLDER (`rates_inputs`: four volumes on the SRI-24 grid, tables of the
paper's size), runs each stage's own command on a few items and on fewer, and writes the difference
per item into results/rates.csv, a row as soon as it is measured. One thread, and CPU-seconds, which
other work on the machine changes little. Models are left to the GPU: WF-SA-VAE encodes a volume
there in 0.4 s, but not in 120 CPU-seconds. Rows that other benchmarks measured are taken from their
results. `benchmarks.needs` makes the table of docs/cluster.md out of it.
"""

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.rates_audits import audit_rates
from benchmarks.rates_commands import (
    ASSETS,
    INPUTS,
    LATENTS,
    ROOT,
    SHARDS,
    SUBREAPER,
    WFDM,
    Rate,
    by_size,
    measured,
    of_shards,
    stage,
)
from wfdm.config.study import Study
from wfdm.data.table import read_table, rows_of, write_scans, write_table
from wfdm.provenance.digests import sha256_of

RESULTS = Path(__file__).with_name("results")
ALL, SAME, SESSIONS = 4, 400, 29_139


def data_rates(folder: Path, out: Path) -> Iterator[Rate]:
    """Stages on tables, sessions and volumes."""
    cohort = folder / "cohort/scans.tsv"
    yield Rate(
        "coverage", "cohort", 1, (*WFDM, "coverage", "--scans", cohort, "--out", out / "c.tsv")
    )
    yield by_size(
        "manifest", "scan", out / "manifest.tsv", (1, SAME),
        lambda n, to: (*WFDM, "manifest", "--scans", folder / f"scans-{n}.tsv", "--out", to),
    )  # fmt: skip
    delivered = by_size(
        "preprocess", "delivered scan", out / "preprocessed.tsv", (1, ALL),
        lambda n, to: stage(
            *("preprocess", "--scans", folder / f"scans-{n}.tsv", "--atlas", ASSETS / "sri24.nii"),
            *("--atlas-head", ASSETS / "sri24-head.nii", "--root", out / f"sessions-{n}"),
            *("--logs", out / "logs", "--processes", 1, "--out", to),
        ),
    )  # fmt: skip
    roots = [out / f"sessions-{count}" for count in (1, ALL)]  # finished sessions would be kept
    yield replace(delivered, written=roots[1], before=lambda: [*map(_remove, roots)])
    many = out / "many"
    sessions = ("--scans", many / "scans.tsv", "--sessions", many / "sessions.tsv")
    page = out / "quality.html"
    command = stage("quality", *sessions, "--logs", out / "logs", "--out", page)
    yield Rate("quality", "cohort", 1, command, before=partial(_every_record, out, many))
    command = stage("volumes", *sessions, "--out", out / "volumes.tsv")
    yield Rate("volumes", "cohort", 1, command)
    volumes = ("--volumes", folder / "volumes-1.tsv")
    yield of_shards("image-hash", "scan", out / "hashes", ".npy", *volumes)
    yield by_size(
        "mean-volumes", "scan", out / "means.safetensors", (1, ALL),
        lambda n, to: stage(
            *("mean-volumes", "--volumes", folder / f"volumes-{n}.tsv"),
            *("--splits", folder / "train.tsv", "--out", to),
        ),
    )  # fmt: skip
    yield by_size(
        "latents", "scan", out / "index.tsv", (1, LATENTS),
        lambda n, to: stage(
            *("latents", "--compressor", folder / "compressors/wf-sa-vae/model.safetensors"),
            *("--volumes", folder / f"latents/volumes-{n}.tsv"),
            *("--splits", folder / f"latents/train-{n}.tsv", "--shards", 1),
            *("--out", folder / f"latents/{n}/index.tsv"),
        ),
    )  # fmt: skip


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _every_record(out: Path, folder: Path) -> None:
    """Write the record of a session as of so many people as the study has sessions."""
    folder.mkdir(exist_ok=True)
    (session, *_) = rows_of(read_table(out / f"{ALL}-preprocessed.tsv"))
    (row, *_) = rows_of(read_table(out.parent / "scans-1.tsv"))
    text = Path(session["record"]).read_bytes()
    scans, sessions = [], []
    for number in range(SESSIONS):
        name = f"{number:05d}"
        path = folder / f"{name}.prov.json"
        path.write_bytes(text)
        names = {"scan_id": f"A/sub-{name}_T1w", "subject": name, "person": f"A/{name}"}
        scans.append(row | names)
        sessions.append((f"A/sub-{name}", "ok", str(path), sha256_of(path)))
    write_scans(pd.DataFrame(scans), folder / "scans.tsv")
    columns = ["session", "status", "record", "sha256"]
    write_table(pd.DataFrame(sessions, columns=columns), folder / "sessions.tsv")


def model_rates(folder: Path, out: Path) -> Iterator[Rate]:
    """Stages that compare volumes; the study's own models were timed on a GPU."""
    volumes = ("--volumes", folder / "volumes-1.tsv", "--splits", folder / "test.tsv")
    means = ("--means", out / f"{ALL}-means.safetensors")
    for name in ("load", "write", "lpips"):
        written = folder / "written.nii.gz" if name == "write" else None
        yield Rate(name, "volume", 1, (*INPUTS, folder, "--time", name), written=written)
    yield of_shards("features", "scan", out / "features", ".safetensors", *volumes[:2], *means)
    yield of_shards("floors", "scan", out / "floors", ".csv", *volumes, *means)
    samples = read_table(folder / "volumes-4.tsv")[:2]
    write_table(samples, out / "samples.tsv")
    shards = [
        stage(
            *("diversity", "--samples", out / "samples.tsv", "--shard", shard, "--shards", 2),
            *("--out", out / f"pairs-{shard}.csv"),
            generator="wfdm",
        )
        for shard in (1, 0)  # the one pair is in the last shard
    ]
    yield Rate("diversity", "pair", 1, shards[0], 0, shards[1])


def judged_rates(folder: Path, out: Path) -> Iterator[Rate]:
    """Stages that join what the shards gave: at full size."""
    parts = {
        name: [folder / "judged" / f"{name}-{shard:02d}{suffix}" for shard in range(SHARDS)]
        for name, suffix in (
            *(("real", ".safetensors"), ("made", ".safetensors")),
            *(("pairs", ".csv"), ("rows", ".csv"), ("floor", ".csv")),
        )
    }

    def given(option: str, paths: list[Path]) -> tuple:
        return tuple(part for path in paths for part in (f"--{option}", path))

    yield Rate("synthesis", "generator", 1, stage(
        "synthesis", *given("real", parts["real"]), *given("synthetic", parts["made"]),
        *given("pairs", parts["pairs"]), "--out", out / "synthesis.csv",
    ))  # fmt: skip
    for name in ("rows", "floor"):
        command = (*WFDM, "join", *given("part", parts[name]), "--out", out / f"joined-{name}.csv")
        yield Rate(f"join {name}" if name == "floor" else "join", "table", 1, command)
    rows = [f"--row={name}={out / 'joined-rows.csv'}" for name in Study().compressors]
    yield Rate("table3", "table", 1, (
        *WFDM, "table3", *rows, "--floor", out / "joined-floor.csv",
        "--published", ROOT / "config/published/table3.csv", "--out", out / "table3.csv",
    ))  # fmt: skip


def row_of(rate: Rate, out: Path, hardware: str) -> dict[str, object]:
    """Measure one row."""
    log = out / f"{rate.name.replace(' ', '-')}.log"
    if rate.before:
        rate.before()
    less = {"cpu_s": 0.0}
    if rate.smaller:
        less = measured(rate.smaller, log)
    more = measured(rate.command, log)
    if rate.command[: len(INPUTS)] == INPUTS:  # it tells its own seconds, without the start
        spent, start = json.loads(log.read_text().splitlines()[-1])["cpu_s"], 0.0
    else:
        spent = (more["cpu_s"] - less["cpu_s"]) / (rate.items - rate.fewer)
        start = less["cpu_s"] - rate.fewer * spent
    made = [rate.written, *rate.written.rglob("*")] if rate.written else []
    size = sum(path.stat().st_size for path in made if path.is_file())
    return {
        "name": rate.name,
        "item": rate.item,
        "items": rate.items - rate.fewer,
        "cpu_s": round(spent, 4),
        "start_cpu_s": round(start, 1),
        "peak_mb": round(more["peak_mb"]),
        "written_mb": round(size / 1e6 / rate.items, 2),
        "source": "benchmarks/rates.py",
        "hardware": hardware,
    }


def borrowed() -> Iterator[dict[str, object]]:
    """Return the rows that other benchmarks measured."""
    size = json.loads((RESULTS / "full_size.json").read_text())
    for name, found in (("index", "index"), ("split", "split, rule person")):
        yield _row(name, "cohort", 1, size["measured"][found], "full_size", size["hardware"])
    near = json.loads((RESULTS / "near_duplicates.json").read_text())
    pairs = near["all pairs at full size, random coefficients"]
    yield _row("near-duplicates", "cohort", 1, pairs, "near_duplicates", near["hardware"])
    parts = pd.read_csv(RESULTS / "parts_hd-bet.csv")
    brains = pd.read_csv(RESULTS / "hd_bet.csv").query("setting == 'full'")
    # Of the first all but the extraction, which had one network and no mirror images there.
    spent = (parts["total"] - parts["extract"]).mean() + brains["cpu_s"].mean()
    told = {"cpu_s": spent, "peak_mb": parts["peak_gb"].max() * 1024}
    hardware = parts["hardware"].iloc[0]
    yield _row("preprocess raw", "session", len(parts), told, "session_cost, hd_bet", hardware)


def _row(
    name: str, item: str, items: int, found: dict, benchmark: str, hardware: str
) -> dict[str, object]:
    return {
        "name": name,
        "item": item,
        "items": items,
        "cpu_s": round(found["cpu_s"], 4),
        "start_cpu_s": 0,
        "peak_mb": round(found["peak_mb"]),
        "written_mb": 0,
        "source": " and ".join(f"benchmarks/{name}.py" for name in benchmark.split(", ")),
        "hardware": hardware,
    }


def main() -> None:
    """Measure what is not in the results yet, or what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the inputs, some 300 MB")
    parser.add_argument("--only", nargs="*", help="rows to measure again; by default all")
    given = parser.parse_args()
    folder = given.folder.resolve()
    ctypes.CDLL(None).prctl(SUBREAPER, 1)
    out = folder / "made"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        subprocess.run([*INPUTS, str(folder), str(ASSETS)], check=True, cwd=ROOT)
    out.mkdir(exist_ok=True)
    code = "from benchmarks.hardware import describe; print(describe())"
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, env=one, capture_output=True, text=True
    )
    for part in (data_rates, model_rates, judged_rates, audit_rates):
        for rate in part(folder, out):
            if given.only is None or rate.name in given.only:
                found = row_of(rate, out, told.stdout.strip())
                print({key: found[key] for key in list(found)[:7]}, flush=True)
                keep([*borrowed(), found])


def keep(found: list[dict[str, object]]) -> None:
    """Put rows into the results; others there stay as they are."""
    file = RESULTS / "rates.csv"
    kept = pd.read_csv(file).to_dict("records") if file.is_file() else []
    rows = {row["name"]: row for row in [*kept, *found]}
    pd.DataFrame(rows.values()).to_csv(file, index=False)


if __name__ == "__main__":
    main()
