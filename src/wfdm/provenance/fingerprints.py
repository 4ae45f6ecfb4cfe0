"""Code fingerprints: what a stage's result depends on, and nothing more.

A fingerprint is a hash over the modules that a stage imports, directly or not. Of each module, what
only people read is left out (`wfdm.provenance.syntax`). A stage's `run` imports what it works with,
so its module lists what its numbers depend on. What settings name, such as a model's architecture,
is imported by that name at run time, so the name is given here too.
"""

import functools
import hashlib
import importlib.util
from pathlib import Path

from wfdm.errors import UserError
from wfdm.provenance import syntax

SOURCE = Path(__file__).parents[2]
PACKAGE = "wfdm"

LEFT_OUT = {
    "wfdm": "the version",
    "wfdm.accelerator": "where models work; the record names it",
    "wfdm.atomic": "how files are written, not what",
    "wfdm.cli": "parses and calls stages",
    "wfdm.config": "only carries values; those that a stage reads are in its settings",
    "wfdm.data.assets": "fetches files and checks their sha256, and an asset is its sha256",
    "wfdm.data.pool": "which process works on what",
    "wfdm.errors": "an error makes no number",
    "wfdm.log": "messages, progress and rates",
    "wfdm.preprocess.quality.pictures": "draws what a person looks at",
    "wfdm.provenance": "records what was done",
    "wfdm.stages.arguments": "the words of the command line",
    "wfdm.stages.inputs": "reads and checks what a stage is given",
    "wfdm.stages.plan": "answers what a plan asks",
    "wfdm.training.board": "curves for TensorBoard",
    "wfdm.training.interrupt": "when a training stops, not what it does",
    "wfdm.training.summary": "the table of a model's parts in the log",
}
"""Modules, and packages with all they hold, that decide no number, each with the reason."""


def fingerprint(module: str, *implementations: str) -> str:
    """Return the code fingerprint (sha256, hexadecimal) of a module, such as a stage's.

    Args:
        module: "wfdm.stages.encode".
        implementations: "module:class" or "module" of what it imports by name; for a module
            outside this package, what it imports of its own top-level package counts too.

    Raises:
        UserError: a module cannot be found.
    """
    digest = hashlib.sha256()
    for name in closure(module, *implementations):
        digest.update(f"{name}\n{_parsed(name)[0]}\n".encode())
    return digest.hexdigest()


def closure(module: str, *implementations: str) -> list[str]:
    """Return the modules that `fingerprint` hashes, sorted."""
    waiting = [module, *(name.partition(":")[0] for name in implementations)]
    seen = set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(_parsed(name)[1])
    return sorted(seen)


@functools.cache
def _parsed(module: str) -> tuple[str, tuple[str, ...]]:
    """Return the part of a module that counts, and which modules it imports."""
    path = _file_of(module)
    if path is None:
        raise UserError(f"module '{module}' cannot be found: install it, or set PYTHONPATH")
    is_package = path.name == "__init__.py"
    package, own = module if is_package else module.rpartition(".")[0], module.partition(".")[0]
    # Packages pass on names that they do not use. So may the modules of others; in ours, the linter
    # forbids it.
    keep_unused = is_package or own != PACKAGE
    text, imported = syntax.read(path.read_text(encoding="utf-8"), package, keep_unused)
    targets = {each: _target(each, own) for each in imported}
    counted = [each for each, target in targets.items() if not _left_out(target)]
    lines = [f"{each.module} {each.name} {each.bound}" for each in counted]
    ours = {targets[each] for each in counted if _is_followed(targets[each], own)}
    return "\n".join([*lines, text]), tuple(sorted(ours))


def _target(imported: syntax.Imported, own: str) -> str:
    """Return the module that an import leads to: a package only for what is its own."""
    inner = f"{imported.module}.{imported.name}"
    if not imported.name or imported.module.partition(".")[0] not in (PACKAGE, own):
        return imported.module
    return inner if _file_of(inner) else imported.module


def _is_followed(module: str, own: str) -> bool:
    top = module.partition(".")[0]
    return top == PACKAGE or (top == own and _file_of(module) is not None)


def _left_out(module: str) -> bool:
    parts = module.split(".")
    outer = [".".join(parts[: size + 1]) for size in range(1, len(parts))]
    return module == PACKAGE or any(name in LEFT_OUT for name in outer)


@functools.cache
def _file_of(module: str) -> Path | None:
    top, *parts = module.split(".")
    if top != PACKAGE:
        return _foreign(module)
    base = SOURCE.joinpath(top, *parts)
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _foreign(module: str) -> Path | None:
    """Return the source file of an installed module, without importing the module itself."""
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        return None
    source = found.origin if found else None
    return Path(source) if source and source.endswith(".py") else None
