"""What a training leaves: folders that can be loaded, and its history."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from wfdm.atomic import write_text
from wfdm.models.weights import save_weights

Weights = dict[str, Tensor]


def write(folder: Path, newest: Weights, best: Weights, config: Callable[[Path], str]) -> None:
    """Write the best weights into `folder` and the newest into last/: both can be loaded.

    Args:
        folder: of the trained model.
        newest: weights after the last step.
        best: weights at the lowest val_loss.
        config: folder -> text of the config.json there.
    """
    for where, weights in ((folder / "last", newest), (folder, best)):
        save_weights(where / "model.safetensors", weights)
        write_text(where / "config.json", config(where))


def write_history(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write history.csv: step, the mean of each loss since the row before, val_loss."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{value:.9g}" for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())
