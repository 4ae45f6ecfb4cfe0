"""How long a training runs, in what way, and where: what `wfdm.training.loop.train` follows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wfdm.config.training import Precision


@dataclass(frozen=True)
class Job:
    """Where a training runs, from what it starts and on what: all that is no setting of it.

    Attributes:
        folder: receives model.safetensors, config.json, history.csv, last/ and tensorboard/.
        identity: digest of settings, inputs and code; a kept state of another is moved aside.
        start: weights to begin with, see `wfdm.training.state.start_from`; None for fresh ones.
        threads: CPU threads.
        workers: loader processes; 0 loads in the training process.
    """

    folder: Path
    identity: str
    start: Path | None = None
    threads: int = 1
    workers: int = 0


class Duration(Protocol):
    """What the settings of every training say of its length and arithmetic; see `Plan`."""

    @property
    def steps(self) -> int: ...  # noqa: D102

    @property
    def validate_every(self) -> int: ...  # noqa: D102

    @property
    def precision(self) -> Precision: ...  # noqa: D102


@dataclass(frozen=True)
class Plan:
    """How a training runs: how long, in what way, and where its results go.

    Attributes:
        name: of what is trained; part of every draw's seed.
        seed: the study's seed.
        training: updates in all; steps between validations, when the state is kept too; precision
            as Fabric names it.
        config: folder -> JSON text of the config.json there, from which the exported module can be
            built again.
        job: where, from what and on what.
    """

    name: str
    seed: int
    training: Duration
    config: Callable[[Path], str]
    job: Job
