"""The training's history for TensorBoard, beside history.csv: `tensorboard --logdir FOLDER`."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from wfdm.atomic import named


class Board:
    """Curves of one training; what a killed run showed after its last kept state is dropped.

    Events are written at once and in this thread. torch's SummaryWriter leaves them to a thread of
    its own, and what goes wrong there, such as a full disk, comes as a traceback.

    Args:
        folder: of the training; the curves go into its subfolder tensorboard/.
        step: the last kept one.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / "tensorboard" / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.writer = path, RecordWriter(open(path, "wb"))  # noqa: SIM115 (see `close`)
        self._write(file_version="brain.Event:2")
        self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def show(self, row: Mapping[str, float]) -> None:
        """Add one row of the history."""
        values = [Summary.Value(tag=k, simple_value=v) for k, v in row.items() if k != "step"]
        self._write(step=int(row["step"]), summary=Summary(value=values))

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()

    def _write(self, **content: object) -> None:
        event = Event(wall_time=time.time(), **content)
        with named(self.path):
            self.writer.write(event.SerializeToString())
            self.writer.flush()
