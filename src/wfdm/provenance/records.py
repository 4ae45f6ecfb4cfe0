"""A provenance record beside every artefact: what it was made from, by what, on what, when."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfdm import __version__
from wfdm.atomic import alone, write_text
from wfdm.errors import UserError, damaged
from wfdm.provenance.digests import digests, sha256_of
from wfdm.provenance.seal import sealed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wfdm.config.base import Section

SUFFIX = ".prov.json"
PACKAGES = ("torch", "monai", "numpy", "scipy", "nibabel", "antspyx", "deepbet", "medmetric")


def record_path(artefact: Path | str) -> Path:
    """Return where the record of an artefact lies: beside it."""
    path = Path(artefact)
    return path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)


@dataclass(frozen=True)
class Began:
    """When some work began: by the calendar, and by a clock that never jumps."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)


@dataclass
class Run:
    """One run of a stage; what it reads and writes is added while it works.

    Attributes:
        stage: name of the stage, as its command's: "train-compressor".
        settings: that it was given, as JSON.
        inputs: files that it reads.
        numbers: those settings that can change a result.
        implementations: "module:class" or "module" of what it imports by name.
        outputs: files that it makes; empty: the one artefact that the record lies beside.
        results: what it reports besides its files, such as its speed.
    """

    stage: str
    settings: dict[str, Any]
    inputs: list[Path]
    numbers: dict[str, Any]
    implementations: tuple[str, ...] = ()
    outputs: list[Path] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    began: Began = field(default_factory=Began)
    _read: dict[Path, str] = field(default_factory=dict)

    def digest(self, path: Path) -> str:
        """Return the sha256 of an input, taken once: of what this run began with."""
        if path not in self._read:
            self._read[path] = sha256_of(path)
        return self._read[path]

    def check_inputs(self) -> None:
        """Raise UserError for an input that is not what its record says was made.

        So nothing that was cut short, or half made anew when a job was killed, is taken for whole.
        """
        for path in self.inputs:
            record = find_record(path) if path.is_file() else None
            made = read(record)["outputs"].get(str(path)) if record else None
            if made is not None and made != self.digest(path):
                raise UserError(
                    f"{path}: is not what {record} says was made: it was cut short, or changed "
                    f"since; remove it and run again (or its record, to use it as it is)"
                )

    @property
    def code(self) -> str:
        """Code fingerprint of the stage with what it imports by name."""
        from wfdm.provenance.fingerprints import fingerprint  # slow; needed at the end only

        module = f"wfdm.stages.{self.stage.replace('-', '_')}"
        return fingerprint(module, *self.implementations)

    @property
    def identity(self) -> str:
        """Digest of what decides the result: two runs with the same one do the same work.

        That is the code, the settings that can change a number, and the content of the inputs in
        their order; neither their paths nor the machine.
        """
        content = [self.numbers, self.code, [self.digest(path) for path in self.inputs]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def recorded(
    stage: str,
    artefact: Path,
    settings: Section | None,
    inputs: Iterable[Path],
    implementations: Iterable[str] = (),
) -> Iterator[Run]:
    """Run a stage, no second one beside it, and write its record beside `artefact` in the end.

    Args:
        stage: its name; "train-compressor" is the module wfdm.stages.train_compressor.
        artefact: the file that the record lies beside.
        settings: that the stage was given, if any.
        inputs: files that it reads. One that does not exist is a programming error and raises
            FileNotFoundError when hashed.
        implementations: "module:class" or "module" of what it imports by name.

    Raises:
        UserError: another process is making `artefact`, or an input is not what was made.
    """
    given = settings.model_dump(mode="json") if settings else {}
    numbers = settings.numbers() if settings else {}
    run = Run(stage, given, list(inputs), numbers, tuple(implementations))
    with alone(artefact):
        run.check_inputs()
        yield run
        made = digests(run.outputs or [artefact])
        read_from = {str(path): run.digest(path) for path in sorted(set(run.inputs))}
        path = record_path(artefact)
        write(path, stage, made, read_from, run.settings, run.code, run.results, run.began)


def write(
    record: Path,
    stage: str,
    outputs: Mapping[str, str],
    inputs: Mapping[str, str],
    settings: Mapping[str, Any],
    code: str,
    results: Mapping[str, Any],
    began: Began,
) -> None:
    """Write a record, sealed.

    Args:
        record: its path.
        stage: what was done.
        outputs: path to sha256 of what was made.
        inputs: path to sha256 of what it was made from.
        settings: as plain values.
        code: fingerprint of what the numbers depend on.
        results: what is reported besides the files.
        began: when the work began; it ends now.
    """
    content = {
        "stage": stage,
        "outputs": outputs,
        "inputs": inputs,
        "settings": settings,
        "code": code,
        "seed": settings.get("seed"),
        "results": results,
        "environment": environment(),
        "device": device(),
        "started": began.at.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began.clock, 1),
    }
    write_text(record, sealed(content))


def environment() -> dict[str, str]:
    """Return the versions a result may depend on, and a digest over all that is installed."""
    found = {"wfdm": __version__, "python": platform.python_version()}
    return found | _installed() | _accelerator()


@functools.cache
def _installed() -> dict[str, str]:
    """Return the versions of the packages that matter most, and one digest over all packages.

    The digest is over name and version of every distribution on the path, as their folders
    name them, sorted: it is the same wherever the same was installed, with or without a checkout.
    """
    from importlib import metadata  # slow to import, needed at the end only

    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    folders = {path.name for place in sys.path for path in Path(place).glob("*.dist-info")}
    text = "\n".join(sorted(folder.removesuffix(".dist-info").lower() for folder in folders))
    return found | {"distributions": hashlib.sha256(text.encode()).hexdigest()}


def _accelerator() -> dict[str, str]:
    torch = sys.modules.get("torch")  # a stage that did not use torch need not import it
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
    """Read a record. Raises UserError for one that is damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged(path, error) from None


def find_record(artefact: Path) -> Path | None:
    """Return the record of the stage that made `artefact`, a file; None for a source.

    It lies beside it, or beside another file of the same folder that was made with it.
    """
    beside = record_path(artefact)
    if beside == artefact:  # a record itself
        return None
    if beside.is_file():
        return beside
    records = sorted(artefact.parent.glob(f"[!.]*{SUFFIX}"))  # no temporary ones
    return next((each for each in records if str(artefact) in read(each)["outputs"]), None)
