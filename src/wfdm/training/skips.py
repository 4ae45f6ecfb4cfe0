"""Steps that an optimizer did not make, because its gradient was not finite."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wfdm.errors import UserError

COLUMN = "skipped_"
MOST_IN_A_ROW = 100
"""Sixteen-bit training looks for its loss scale in some twenty; what skips more never recovers."""


@dataclass
class Skips:
    """Counts of skipped steps, by optimizer.

    Attributes:
        in_a_row: since the last step that was made.
        since_row: since the last row of the history.
        left_out: steps whose losses are in no mean, since that row: they are not finite.
    """

    in_a_row: Counter[str] = field(default_factory=Counter)
    since_row: Counter[str] = field(default_factory=Counter)
    left_out: int = 0

    def count(self, name: str, made: bool) -> None:
        """Count one step of an optimizer."""
        self.in_a_row[name] = 0 if made else self.in_a_row[name] + 1
        self.since_row[name] += not made

    def stuck(self) -> str | None:
        """Return the optimizer that will not recover, if there is one."""
        return next((name for name, n in self.in_a_row.items() if n >= MOST_IN_A_ROW), None)

    def state(self) -> dict[str, Any]:
        """Return the counts as JSON holds them; `restore` takes them back."""
        return {
            "in_a_row": dict(self.in_a_row),
            "since_row": dict(self.since_row),
            "left_out": self.left_out,
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; from nothing, where nothing was kept."""
        self.in_a_row = Counter(kept.get("in_a_row", {}))
        self.since_row = Counter(kept.get("since_row", {}))
        self.left_out = kept.get("left_out", 0)

    def finish_row(self, optimizers: Iterable[str]) -> dict[str, float]:
        """Return the columns of a row, skipped_OPTIMIZER, and begin to count for the next one."""
        columns: dict[str, float] = {COLUMN + name: self.since_row[name] for name in optimizers}
        self.since_row.clear()
        self.left_out = 0
        return columns


def skipped_steps(row: Mapping[str, float]) -> str:
    """Return how a line of the log ends that tells of a row: with the steps that were skipped."""
    lost = {key.removeprefix(COLUMN): n for key, n in row.items() if key.startswith(COLUMN) and n}
    told = ", ".join(f"{n:g} of {name}" for name, n in lost.items())
    return f"; steps skipped, gradient not finite: {told}" if told else ""


def diverged(what: str, precision: str, state: Path) -> UserError:
    """Return the error of a training that cannot go on.

    Its advice helps. Running again does not: the kept state leads to the same draws and end.

    Args:
        what: of which training, and what happened.
        precision: of the training.
        state: the file that it would continue from.
    """
    wider = "" if precision == "32-true" else "take precision 32-true, "
    text = (
        f"{what}; running again repeats it, for every draw is seeded: lower the learning rate, "
        f"{wider}or look for broken volumes"
    )
    if state.exists():
        text += f"; to go on from what was learned, begin with a copy of {state} (--from COPY)"
    return UserError(text)
