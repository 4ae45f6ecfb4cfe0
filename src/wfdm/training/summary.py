"""A table of a model's parts at the first step: what each of them gives, and its parameters."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from wfdm.log import log

Rows = list[tuple[str, str, int]]


class Parts:
    """Watches what the modules' top-level children give, and logs it once. It changes nothing.

    Args:
        modules: what is trained, by name.
        told: whether to log it at all; one of several devices is enough.
    """

    def __init__(self, modules: Mapping[str, nn.Module], told: bool) -> None:
        self.modules, self.waiting = modules, told
        self.shapes: dict[tuple[str, str], str] = {}

    @contextmanager
    def seen_once(self) -> Iterator[None]:
        """Log the table after the first step in this context, also where that step fails."""
        if not self.waiting:
            yield
            return
        self.waiting = False
        hooks = [
            called.register_forward_hook(partial(self._note, (name, child)))
            for name, module in self.modules.items()
            for child, part in module.named_children()
            for called in _called(part)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for name, module in self.modules.items():
                log.info(self.table(name, module))

    def table(self, name: str, module: nn.Module) -> str:
        """Return the table of one module: child, shape of what it gave, parameters."""
        rows: Rows = [
            (child, self.shapes.get((name, child), "-"), _parameters(part))
            for child, part in module.named_children()
        ]
        own = _parameters(module) - sum(count for _, _, count in rows)
        if own > 0:
            rows.append(("its own", "-", own))
        rows.append(("in all", "", _parameters(module)))
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]  # type: ignore[arg-type]
        lines = [
            f"  {child:{widths[0]}}  {shape:{widths[1]}}  {n:>13,}" for child, shape, n in rows
        ]
        return "\n".join([f"{name}: {type(module).__name__}; outputs, parameters", *lines])

    def _note(self, key: tuple[str, str], module: nn.Module, inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple | list) and output else output
        if isinstance(first, Tensor):
            self.shapes[key] = "x".join(map(str, first.shape))


def _called(part: nn.Module) -> list[nn.Module]:
    """Return what of a child is called: a list is not, but each of its members is."""
    return list(part.children()) if isinstance(part, nn.ModuleList) else [part]


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
