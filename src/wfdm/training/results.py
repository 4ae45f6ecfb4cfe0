"""What a training leaves: folders that can be loaded, and its history."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from wfdm.atomic import write_text
from wfdm.models.weights import save_weights

Weights = dict[str, Tensor]


def write(
    folder: Path,
    newest: Weights,
    best: Weights,
    config: Callable[[Path], str],
    history: Sequence[dict[str, float]],
) -> None:
    """Write the best weights into `folder` and the newest into last/: both can be loaded.

    Args:
        folder: of the trained model.
        newest: weights after the last step.
        best: weights at the lowest val_loss.
        config: folder -> text of the config.json there.
        history: see `write_history`.
    """
    for where, weights in ((folder / "last", newest), (folder, best)):
        save_weights(where / "model.safetensors", weights)
        write_text(where / "config.json", config(where))
    write_history(folder, history)


def write_history(folder: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write history.csv into `folder`.

    Its columns are step, the mean of each loss since the row before, val_loss, and for each
    optimizer how many steps were skipped since, the gradient not being finite.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{value:.9g}" for key, value in row.items()} for row in rows)
    write_text(folder / "history.csv", text.getvalue())
