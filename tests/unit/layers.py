"""The imports between the packages of `wfdm`; `python -m tests.unit.layers` draws them."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "wfdm"
ROOT = "wfdm"  # stands for the modules beside the packages, and for the version

# Highest first; a package may import those below its layer, never its neighbours.
LAYERS = (
    ("cli",),
    ("stages",),
    ("tables", "figures", "audits"),
    ("evaluation", "baselines"),
    ("generators",),
    ("training",),
    ("processes", "latents"),
    ("models",),
    ("preprocess", "phantom"),
    ("data",),
    ("provenance",),
    ("config",),
    (ROOT,),
)
HEIGHT = {name: -place for place, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name without `wfdm.`."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name or ROOT] = path
    return found


def package_of(module: str) -> str:
    """Return the package that a module belongs to; ROOT for what lies beside the packages."""
    top = module.partition(".")[0]
    return top if (SOURCE / top).is_dir() else ROOT


def imported_by(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """Yield each module of `wfdm` that is imported, wherever it stands, and the line."""
    here = [ROOT, *([] if module == ROOT else module.split("."))]
    package = here if path.name == "__init__.py" else here[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[list[str]] = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            names = [[*base, alias.name] for alias in node.names]
        for parts in names:
            if parts[0] == ROOT:
                yield _known(parts[1:]), node.lineno


def _known(parts: list[str]) -> str:
    """Return the longest part of a dotted name that is a module: the rest is what it defines."""
    for size in range(len(parts), 0, -1):
        path = SOURCE.joinpath(*parts[:size])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return ".".join(parts[:size])
    return ROOT


def arrows() -> dict[tuple[str, str], list[str]]:
    """Return (package, package it imports) to the places, as "module:line -> module"."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for module, path in modules().items():
        for target, line in imported_by(module, path):
            pair = package_of(module), package_of(target)
            if pair[0] != pair[1]:
                found[pair].append(f"{module}:{line} -> {target}")
    return dict(found)


def upward(found: dict[tuple[str, str], list[str]]) -> list[str]:
    """Return the places where an import does not point down."""
    return [
        place
        for (above, below), places in sorted(found.items())
        if HEIGHT[above] <= HEIGHT[below]
        for place in places
    ]


def cycle(found: dict[tuple[str, str], list[str]]) -> list[str]:
    """Return packages that import each other in a ring; empty where there is none."""
    targets: dict[str, set[str]] = defaultdict(set)
    for above, below in found:
        targets[above].add(below)

    def walk(path: list[str]) -> list[str]:
        for below in sorted(targets[path[-1]]):
            if below in path:
                return [*path[path.index(below) :], below]
            if ring := walk([*path, below]):
                return ring
        return []

    for start in sorted(targets):
        if ring := walk([start]):
            return ring
    return []


def picture() -> str:
    """Return the arrows as a Mermaid graph: each layer a row, each arrow with how many imports."""
    found = arrows()
    used = {name for pair in found for name in pair}
    lines = ["flowchart TB"]
    for place, names in enumerate(LAYERS):
        lines.append(f"  subgraph layer{place}[ ]")
        lines += [f"    {name}" for name in names if name in used]
        lines.append("  end")
    for (above, below), places in sorted(found.items(), key=lambda pair: -HEIGHT[pair[0][0]]):
        if below != ROOT:  # everybody may; it would only hide the rest
            arrow = "-->" if HEIGHT[above] > HEIGHT[below] else "-. UP .->"
            lines.append(f"  {above} {arrow}|{len(places)}| {below}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(picture())
