"""Settings of denoisers that need few steps, and of table A4, their quality against steps."""

from typing import Any, Literal

from pydantic import Field, model_validator

from wfdm.config.base import Fraction, Positive, Rate, Section
from wfdm.config.denoisers import DenoiserSettings, DenoiserTraining, RectifiedFlowSettings
from wfdm.config.generators import Sampler, SamplerSettings, TrajectorySettings
from wfdm.config.training import AveragedTraining


class DistilledTraining(AveragedTraining):
    """Training of the student on its teacher's pairs, from its teacher's weights."""

    steps: Positive = Field(50_000, description="our choice: the student has its teacher's weights")
    learning_rate: Rate = Field(5e-5, description="our choice: half of stage B's")
    balance: Fraction = Field(
        0.7,
        description="weight 1/count**balance of the modality of a training scan whose modality and "
        "metadata a pair takes; stage B's; 0: off. Pairs are drawn alike",
    )
    validation_scans: Positive = Field(
        256, description="our choice: pairs that are held out; first by seed"
    )
    loss: Literal["l1", "l2"] = Field("l2", description="reflow's own: its answer is a mean")


class DistilledSettings(Section):
    """A student of a rectified flow, trained on the flow's own pairs (Liu et al. 2022)."""

    denoiser: str = Field(description="name of the teacher, a denoiser of process rflow")
    pairs: Positive = Field(
        20_000, description="our choice: noises that the teacher carries to their ends"
    )
    sampling: SamplerSettings = Field(
        SamplerSettings(sampler="heun", steps=25),
        description="how the teacher carries them; our choice: as many network passes as the "
        "paper's 50 steps, at second order",
    )
    training: DistilledTraining = DistilledTraining()

    @model_validator(mode="after")
    def _some_are_left(self) -> "DistilledSettings":
        if self.training.validation_scans >= self.pairs:
            raise ValueError(
                f"training.validation_scans: {self.training.validation_scans} held out of "
                f"{self.pairs} pairs leave none to train on"
            )
        return self


class ReferenceSampling(TrajectorySettings):
    """The many steps that table A4 compares with, in float32 and without guidance."""

    sampler: Sampler = Field("heun", description="our choice: of second order")
    steps: Positive = Field(200, description="our choice")


class FewStepsSettings(Section):
    """Table A4: every generator of one denoiser and of its students, by network passes."""

    denoiser: str = Field("wfdm", description="name of the denoiser; its students belong to it")
    reference: ReferenceSampling = ReferenceSampling()
    scans: Positive = Field(
        64,
        description="our choice: test scans whose modality and metadata the compared latents are "
        "asked for; first by seed",
    )


def denoiser_of(study: Any, name: str) -> DenoiserSettings:
    """Return the settings of a denoiser; a student's are its teacher's but for its training.

    Args:
        study: what has `denoisers` and `distilled`.
        name: in one of these.
    """
    known: dict[str, DenoiserSettings] = study.denoisers
    if name not in study.distilled:
        return known[name]
    student: DistilledSettings = study.distilled[name]
    teacher = known[student.denoiser]
    assert isinstance(teacher.process, RectifiedFlowSettings)  # `wfdm.config.checks`
    own = {
        "process": straightened(teacher.process),
        "training": DenoiserTraining(**student.training.model_dump()),
    }
    return teacher.model_copy(update=own)


def straightened(process: RectifiedFlowSettings) -> RectifiedFlowSettings:
    """Return a teacher's process as its student has it: the network says all of the velocity.

    `wfdm.training.reflow` says why.
    """
    return process.model_copy(update={"linear_answer": False})
