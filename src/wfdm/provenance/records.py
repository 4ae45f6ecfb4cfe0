"""A provenance record beside every artefact: what it was made from, by what, on what, when."""

import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from wfdm import __version__
from wfdm.atomic import write_text
from wfdm.config.base import Section
from wfdm.provenance.fingerprints import fingerprint

SUFFIX = ".prov.json"
LOCK = Path(__file__).parents[3] / "envs" / "constraints.txt"
PACKAGES = ("torch", "monai", "numpy", "scipy", "nibabel", "antspyx", "deepbet", "medmetric")


def sha256_of(path: Path | str) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def record_path(artefact: Path | str) -> Path:
    """Return where the record of an artefact lies: beside it."""
    path = Path(artefact)
    return path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)


@dataclass
class Run:
    """One run of a stage; what it reads and writes is added while it works."""

    stage: str
    settings: dict[str, Any]
    inputs: list[Path]
    outputs: list[Path] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    implementations: tuple[str, ...] = ()
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)

    @property
    def code(self) -> str:
        """Code fingerprint of the stage with the architectures that it works with."""
        return fingerprint(self.stage, *self.implementations)

    @property
    def identity(self) -> str:
        """Digest of settings, code and inputs: two runs with the same one do the same work."""
        content = [self.settings, self.code, digests(self.inputs)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def recorded(
    stage: str,
    artefact: Path,
    settings: Section | None,
    inputs: Iterable[Path],
    implementations: Iterable[str] = (),
) -> Iterator[Run]:
    """Run a stage and write its record beside `artefact` when it succeeds.

    `implementations` name the architectures that it works with, as "module:class". Inputs that
    do not exist are a programming error and raise FileNotFoundError when hashed.
    """
    run = Run(stage, settings.model_dump(mode="json") if settings else {}, list(inputs))
    run.implementations = tuple(implementations)
    yield run
    made = run.outputs or [artefact]
    content = {
        "stage": stage,
        "outputs": digests(made),
        "inputs": digests(run.inputs),
        "settings": run.settings,
        "code": run.code,
        "seed": run.settings.get("seed"),
        "results": run.results,
        "environment": environment(),
        "device": device(),
        "started": run.started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - run.clock, 1),
    }
    write_text(record_path(artefact), json.dumps(content, indent=1) + "\n")


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """Return path (as given) to sha256, sorted by path."""
    return {str(path): sha256_of(path) for path in sorted(set(paths))}


def environment() -> dict[str, str]:
    """Return the versions a result may depend on, and the digest of the environment's lock."""
    found = {"wfdm": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    if LOCK.is_file():
        found["lock"] = sha256_of(LOCK)
    return found | _accelerator()


def _accelerator() -> dict[str, str]:
    torch = sys.modules.get("torch")  # stages that did no torch work need not pay for its import
    if torch is None or not torch.cuda.is_available():
        return {}
    return {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}


def device() -> str:
    """Return what the work ran on."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = f", {torch.get_num_threads()} threads" if torch is not None else ""
    return f"CPU {platform.machine()}{threads}"


def read(path: Path | str) -> Mapping[str, Any]:
    """Read a record."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
