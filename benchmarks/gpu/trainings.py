"""Trainings of a study on a GPU that is lent for minutes and shares no disk with it.

    python -m benchmarks.gpu.trainings pack --out PACK --configfile config/open.yaml -- TARGET ...
    python -m benchmarks.gpu.trainings run PACK --seconds 200 --out OUT     # there
    python -m benchmarks.gpu.trainings back OUT/*.part                          # here again

`pack` asks Snakemake which trainings the targets need, and puts their commands and all that they
read into one folder: standardised volumes as the trainings' own cache holds them, or latents. So
nothing is lost, and the records of what comes back name the inputs that lie here. `run` tries all
commands side by side for a few steps, chooses one number of steps for all that fits the seconds
(and of those before the discriminator; the configuration has to say the same afterwards), and
trains. `back` puts weights, histories, records and logs in their places.
"""

import argparse
import io
import json
import lzma
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np

PART = 15_000_000  # bytes; what a lent machine gives back comes in small files
TRIED = 150  # steps, to measure the rate of each beside the others
ROUND = 100  # steps
ADVERSARIAL = 0.6  # share of the steps before the discriminator joins
MAIN = "from wfdm.cli import main; main()"
KEPT = ("model.safetensors", "config.json", "standard.safetensors", "history.csv")


def commands(configfiles: list[str], targets: list[str]) -> list[list[str]]:
    """Return the arguments of `wfdm` for each training that the targets need, as Snakemake says."""
    asked = ["snakemake", "--dry-run", "--printshellcmds", "--cores", "4", "--configfile"]
    asked += [*configfiles, "--", *targets]
    said = subprocess.run(asked, capture_output=True, text=True)
    if said.returncode:
        raise SystemExit((said.stdout + said.stderr)[-2000:])
    found = []
    for line in (said.stdout + said.stderr).splitlines():
        if not line.startswith("Shell command:") or " wfdm train-" not in line:
            continue
        told = line.split(" wfdm ", 1)[1].split(" 2>&1", 1)[0]
        words = shlex.split(told.replace("$((", "'").replace("))", "'"))
        found.append(_given(words, "--workers", "2"))
    return found


def _given(words: list[str], option: str, value: str) -> list[str]:
    """Return the words with another value after an option, if they have it."""
    where = words.index(option) + 1 if option in words else len(words)
    return [*words[:where], value, *words[where + 1 :]] if where < len(words) else list(words)


def _value(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def _setting(words: list[str], name: str) -> str:
    return json.loads(_value(words, "--settings"))[name]


def pack(out: Path, configfiles: list[str], targets: list[str]) -> None:
    """Add commands and inputs to the folder `out`; what it holds already is not added again."""
    chosen = commands(configfiles, targets)
    caches: dict[str, list[str]] = {}
    for words in chosen:
        if words[0] == "train-compressor":
            files = {Path(_value(words, "--volumes")), Path(_value(words, "--splits"))}
            caches |= _volumes(words, out / "volumes")
        else:
            latents = Path(_value(words, "--latents")).parent
            files = {Path(_value(words, f"--{name}")) for name in ("scans", "splits", "statistics")}
            files |= {each for each in latents.iterdir() if each.suffix in (".json", ".tsv")}
            files |= set(latents.glob("*.safetensors"))
            _latents(latents, out / "files" / latents, _setting(words, "posterior") == "mean")
        for file in files:
            (out / "files" / file).parent.mkdir(parents=True, exist_ok=True)
            (out / "files" / file).write_bytes(file.read_bytes())
    name = "-".join(Path(file).stem for file in configfiles)
    told = {"commands": chosen, "caches": caches}
    (out / f"{name}.json").write_text(json.dumps(told) + "\n")
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{len(chosen)} trainings; {out} holds {size / 1e6:.1f} MB")


def _latents(folder: Path, out: Path, means_only: bool) -> None:
    """Write shards of latents, compressed; deviations that a training never reads as zeros."""
    out.mkdir(parents=True, exist_ok=True)
    for shard in folder.glob("*.npy"):
        array = np.load(shard)
        if means_only:
            array[:, 1] = 0
        (out / f"{shard.name}.xz").write_bytes(lzma.compress(_npy(array), preset=4))


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _volumes(words: list[str], out: Path) -> dict[str, list[str]]:
    """Write the volumes of a training, compressed, by their scans' digest; return its caches."""
    from wfdm.data.split_table import read_splits
    from wfdm.data.table import read_table, with_split
    from wfdm.stages.train_compressor import Settings
    from wfdm.training.compressor import Files, StageA, Task

    read = Settings.parse(_value(words, "--settings"))
    cache = Path(_value(words, "--cache"))
    table = read_table(Path(_value(words, "--volumes")))
    table = with_split(table, read_splits(Path(_value(words, "--splits"))))
    task = Task(read.compressor, read.seed, read.volume, read.architecture, read.training)
    files = Files([], None, cache, float(_value(words, "--cache-mb")))
    objective = StageA(task, read.training, table, files)
    digests = dict(zip(table["path"], table["sha256"], strict=True))
    out.mkdir(parents=True, exist_ok=True)
    caches = {}
    for volumes in (objective.data.volumes, objective.validation):
        named = [digests[path] for path in volumes.paths]
        for index, digest in enumerate(named):
            if not (file := out / f"{digest}.xz").exists():
                file.write_bytes(lzma.compress(volumes[index].tobytes(), preset=4))
        caches[str(volumes._file)] = named
    return caches


def unpack(folder: Path) -> list[list[str]]:
    """Put everything in its place, caches of volumes too; return the commands."""
    chosen = []
    shutil.copytree(folder / "files", ".", dirs_exist_ok=True)
    for shard in (folder / "files").rglob("*.npy.xz"):
        place = shard.relative_to(folder / "files").with_suffix("")
        place.write_bytes(lzma.decompress(shard.read_bytes()))
    for listing in sorted(folder.glob("*.json")):
        told = json.loads(listing.read_text())
        chosen += told["commands"]
        for cache, digests in told["caches"].items():
            Path(cache).parent.mkdir(parents=True, exist_ok=True)
            with open(cache, "wb") as stream:
                for digest in digests:
                    stream.write(lzma.decompress((folder / f"volumes/{digest}.xz").read_bytes()))
                stream.write(b"\x01" * len(digests))  # all are filled
    return chosen


def _start(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": "src" + os.pathsep + os.environ.get("PYTHONPATH", "")}
    with open(log, "ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *words],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def _changed(words: list[str], steps: int, out: Path | None = None) -> list[str]:
    """Return a command that trains for so many steps; as a trial, where it has an `out`."""
    settings = json.loads(_value(words, "--settings"))
    training = settings["training"]
    training["steps"] = steps
    share = ADVERSARIAL if out is None else 0  # a trial is of the dearer part of the training
    if "adversarial" in training:
        training["adversarial"]["warmup_steps"] = round(share * steps)
    if out is not None:
        training["validate_every"] = steps
        words = _given(words, "--out", str(out / "model.safetensors"))
    return _given(words, "--settings", json.dumps(settings))


def run(packed: Path, seconds: float, steps: int | None, out: Path) -> None:
    """Unpack, choose the number of steps unless it is given, train, and pack what came out."""
    began = time.monotonic()
    chosen = unpack(packed)
    print(f"unpacked after {time.monotonic() - began:.0f} s", flush=True)
    if steps is None:
        steps = _steps(chosen, seconds - (time.monotonic() - began))
    left = seconds + 40 - (time.monotonic() - began)
    running = [
        _start(_changed(words, steps), Path(_value(words, "--out")).with_name("log.txt"))
        for words in chosen
    ]
    codes = _wait(running, left)
    folders = [Path(_value(words, "--out")).parent for words in chosen]
    for folder, code in zip(folders, codes, strict=True):
        last = (folder / "log.txt").read_text(errors="replace").splitlines()[-2:]
        print(folder, code, *last, sep="\n  ", flush=True)
    _give_back(folders, out)
    print(f"{steps} steps each, {time.monotonic() - began:.0f} s in all", flush=True)
    if any(codes):
        raise SystemExit("a training failed or was late; what it kept is packed all the same")


def _steps(chosen: list[list[str]], seconds: float) -> int:
    """Return how many steps each training can have, from their speed side by side."""
    began = time.monotonic()
    scratch = Path(tempfile.mkdtemp())
    places = [scratch / str(number) for number in range(len(chosen))]
    running = [
        _start(_changed(words, TRIED, place), place.with_suffix(".txt"))
        for words, place in zip(chosen, places, strict=True)
    ]
    codes = _wait(running, 120)
    if any(codes):
        for place, code in zip(places, codes, strict=True):
            print(code, place.with_suffix(".txt").read_text(errors="replace")[-1500:], flush=True)
        raise SystemExit("a training failed in its first steps")
    each = [
        json.loads((place / "model.safetensors.prov.json").read_text())["results"]
        for place in places
    ]
    rates = [round(1 / result["seconds_per_step"], 2) for result in each]
    taken = time.monotonic() - began
    mean = sum(result["seconds_per_step"] for result in each) / len(each)
    steps = int((seconds - taken - 15) / mean) // ROUND * ROUND
    print(f"tried for {taken:.0f} s: {rates} steps/s side by side; {steps} steps", flush=True)
    return max(ROUND, steps)


def _wait(running: list[subprocess.Popen[bytes]], seconds: float) -> list[int]:
    """Wait for all; those that are late are asked to keep their state and end."""
    deadline = time.monotonic() + seconds
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
    return [process.wait() for process in running]


def _give_back(folders: list[Path], out: Path) -> None:
    """Write what came out into small files."""
    out.mkdir(parents=True, exist_ok=True)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:xz", preset=1) as packed:
        for folder in folders:
            for file in sorted(folder.iterdir()):
                if file.name in KEPT or file.name.endswith((".prov.json", "log.txt")):
                    packed.add(file)
    content = whole.getvalue()
    for number in range(0, len(content), PART):
        path = out / f"{number // PART:02d}.part"
        path.write_bytes(content[number : number + PART])
    print(f"{len(content) / 1e6:.1f} MB to bring back", flush=True)


def back(parts: list[Path]) -> None:
    """Put what came back in its place."""
    content = b"".join(part.read_bytes() for part in sorted(parts))
    with tarfile.open(fileobj=io.BytesIO(content)) as packed:
        packed.extractall(filter="data")
        print(*packed.getnames(), sep="\n")


def main() -> None:
    """Read the command line and do one of the three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    packing = kinds.add_parser("pack")
    packing.add_argument("--out", type=Path, required=True)
    packing.add_argument("--configfile", nargs="+", required=True)
    packing.add_argument("targets", nargs="+")
    running = kinds.add_parser("run")
    running.add_argument("pack", type=Path)
    running.add_argument("--seconds", type=float, required=True)
    running.add_argument("--steps", type=int, help="instead of what fits the seconds")
    running.add_argument("--out", type=Path, required=True)
    returning = kinds.add_parser("back")
    returning.add_argument("parts", type=Path, nargs="+")
    given = parser.parse_args()
    if given.kind == "pack":
        pack(given.out, given.configfile, given.targets)
    elif given.kind == "run":
        run(given.pack, given.seconds, given.steps, given.out)
    else:
        back(given.parts)


if __name__ == "__main__":
    main()
