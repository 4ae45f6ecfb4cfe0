"""Settings of the adversarial systems that a study trains: networks, and how they are trained."""

from typing import Literal

from pydantic import Field

from wfdm.config.base import Fraction, Positive, Rate, Section
from wfdm.config.training import AveragedTraining, StartFrom


class HaganNetwork(Section):
    """HA-GAN's networks; the modality, one-hot, follows the noise, as its code's class would."""

    kind: Literal["ha-gan"] = "ha-gan"
    side: Literal[128, 256] = Field(
        256,
        description="voxels a side of the cube that it makes; the study's volume stands in its "
        "middle. The paper's: 128 and 256",
    )
    latent: Positive = Field(1024, description="length of the noise; authors' code")
    channels: int = Field(
        32,
        ge=2,
        multiple_of=2,
        description="of the generator before its last layer, all other widths are multiples; "
        "authors' code",
    )


class GanTraining(AveragedTraining):
    """Adversarial training of generator, encoders and discriminators (Sun et al. 2022)."""

    steps: Positive = Field(500_000, description="our choice: the denoisers'; the authors: 80,000")
    batch_size: Positive = Field(4, description="authors' code")
    learning_rate: Rate = Field(1e-4, description="of generator and encoders; authors' code")
    discriminator_factor: Rate = Field(
        4.0, description="the discriminators' learning rate is so many times that; authors' code"
    )
    warmup_steps: int = Field(1000, ge=0, description="our choice: linear; the authors: none")
    decay_power: Rate = Field(
        2.0, description="our choice: polynomial decay, the denoisers'; the authors: none"
    )
    reconstruction_weight: float = Field(
        5.0, ge=0, description="of both reconstruction losses; paper: its lambda"
    )
    ema_decay: Fraction = Field(
        0.9999, description="our choice: the denoisers'; 0: no average, as the authors"
    )
    balance: Fraction = Field(
        0.7, description="modality weight 1/count**balance, the denoisers'; 0: off"
    )
    start_from: StartFrom = None


class GanSettings(Section):
    """One trained GAN: which networks, how trained; it makes volumes of every modality."""

    network: HaganNetwork = HaganNetwork()
    training: GanTraining = GanTraining()
