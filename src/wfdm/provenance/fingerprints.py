"""Code fingerprints: what a stage's result depends on, and nothing more.

A fingerprint is a hash over the syntax trees (no comments, docstrings or formatting) of the
`wfdm` modules that a stage's entry module imports, transitively. `wfdm.config` is left out: it
only carries values, and the values a stage reads are among its rule's parameters already.
A model's architecture is imported by the name that the settings give, so it is named here too.
"""

import ast
import functools
import hashlib
import importlib.util
from pathlib import Path

from wfdm.errors import UserError

SOURCE = Path(__file__).parents[2]
LEFT_OUT = ("wfdm.config", "wfdm.provenance")

ENTRIES = {
    "asset": "wfdm.data.assets",
    "index": "wfdm.data.index",
    "phantom": "wfdm.data.acquisition",
    "split": "wfdm.data.split",
    "coverage": "wfdm.data.coverage",
    "near-duplicates": "wfdm.data.near_duplicates",
    "manifest": "wfdm.data.manifest",
    "digests": "wfdm.data.manifest",
    "preprocess": "wfdm.preprocess.session",
    "quality": "wfdm.preprocess.quality_page",
    "volumes": "wfdm.preprocess.volumes_table",
    "standardise": "wfdm.data.volumes",
    "exchange": "wfdm.models.brainmint",
    "train-compressor": "wfdm.training.compressor",
    "encode": "wfdm.training.latents",
    "train-diffusion": "wfdm.training.diffusion",
    "sample": "wfdm.sampling.write",
    "reconstruction": "wfdm.evaluation.reconstruction",
    "floors": "wfdm.evaluation.floors",
    "features": "wfdm.evaluation.features",
    "synthesis": "wfdm.evaluation.synthesis",
    "tables": "wfdm.evaluation.tables",
    "figure1": "wfdm.figures.architecture",
    "figure2": "wfdm.figures.reconstructions",
    "figure3": "wfdm.figures.samples",
}


def fingerprint(stage: str, *implementations: str) -> str:
    """Return the code fingerprint (sha256, hexadecimal) of a stage named in `ENTRIES`.

    Args:
        stage: name of the stage.
        implementations: "module:class" of the architectures it works with; a module outside
            this package counts with what it imports of its own top-level package.
    """
    if stage not in ENTRIES:
        raise UserError(f"no stage '{stage}': there is {', '.join(ENTRIES)}")
    digest = hashlib.sha256()
    entries = {name.partition(":")[0] for name in implementations}
    for module in sorted(_closure(ENTRIES[stage], *entries)):
        digest.update(f"{module}\n{_parsed(module)[0]}\n".encode())
    return digest.hexdigest()


def _closure(*entries: str) -> set[str]:
    waiting, seen = list(entries), set[str]()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(_parsed(module)[1])
    return seen


def _file_of(module: str) -> Path | None:
    base = SOURCE.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None if module.startswith("wfdm.") else _foreign(module)


def _foreign(module: str) -> Path | None:
    """Return the source file of an installed module, without importing the module itself."""
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        return None
    source = found.origin if found else None
    return Path(source) if source and source.endswith(".py") else None


@functools.cache
def _parsed(module: str) -> tuple[str, tuple[str, ...]]:
    path = _file_of(module)
    if path is None:
        raise UserError(f"module '{module}' cannot be found: install it, or set PYTHONPATH")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = sorted(_imports(tree, module.partition(".")[0]))
    for node in ast.walk(tree):
        _drop_docstring(node)
    return ast.dump(tree), tuple(imported)


def _imports(tree: ast.AST, package: str) -> set[str]:
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    counted = ("wfdm.", f"{package}.")
    ours = {name for name in names if name.startswith(counted) and _file_of(name)}
    return {name for name in ours if not name.startswith(LEFT_OUT)}


def _drop_docstring(node: ast.AST) -> None:
    body = getattr(node, "body", None)
    if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
        value = body[0].value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            body[0] = ast.Pass()
