"""Plans of trainings that take seconds: shared by the tests of the loop."""

from pathlib import Path

from wfdm.config.training import AveragedTraining
from wfdm.training.plan import Job, Plan

OF_JOB = ("folder", "identity", "start", "threads", "workers")


def plan(folder: Path, name: str, **changes: object) -> Plan:
    """Return a plan of the seed 1; `changes` go to its job, and else to its training."""
    given = {"folder": folder, "identity": "a", "precision": "32-true"} | changes
    job = Job(**{key: given.pop(key) for key in OF_JOB if key in given})
    return Plan(name, 1, AveragedTraining.model_validate(given), lambda _: "{}", job)
