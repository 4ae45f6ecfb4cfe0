"""The training's history for TensorBoard, beside history.csv: `tensorboard --logdir FOLDER`."""

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard.writer import SummaryWriter


class Board:
    """Curves of one training; what a killed run showed after its last kept state is dropped.

    Args:
        folder: of the training; the curves go into its subfolder tensorboard/.
        step: the last kept one.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def show(self, row: Mapping[str, float]) -> None:
        """Add one row of the history."""
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(name, value, int(row["step"]))
        self.writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()
