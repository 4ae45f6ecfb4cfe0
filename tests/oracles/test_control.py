"""The control branch against its authors' numbers, and against nothing where it is fresh."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from tests.oracles.oracle import (
    CHAIN,
    FORWARD,
    Oracle,
    assert_close,
    filled,
    oracle,
    published_shapes,
    shapes_of,
)
from wfdm.config.denoisers import UNetSettings
from wfdm.data.metadata import load_schema
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.control import ControlNet
from wfdm.models.denoisers.unet import TIME_SCALE, Denoiser

RENAMED = {"class_embedding.": "modality_embedding.", "dem_proj.": "metadata_projection."}


@pytest.fixture(scope="module")
def theirs() -> Oracle:
    return oracle("brainmint_controlnet")


def settings(made) -> UNetSettings:
    return UNetSettings(
        channels=tuple(made["num_channels"]),
        attention=tuple(made["attention_levels"]),
        head_channels=made["num_head_channels"][-1],
        res_blocks=made["num_res_blocks"],
        norm_groups=made["norm_num_groups"],
        metadata_width=made.get("dem_embed_dim", 8),
    )


def branch(theirs) -> ControlNet:
    made = theirs.facts["constructor_here"]["controlnet"]
    return ControlNet(
        settings(made),
        made["in_channels"],
        made["conditioning_embedding_in_channels"],
        *made["conditioning_embedding_num_channels"],
    )


class Given(nn.Module):
    """A metadata encoder that answers what the oracle gives."""

    def __init__(self, coded: Tensor) -> None:
        super().__init__()
        self.coded = coded

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        return self.coded[: len(values)]


@dataclass
class Pair:
    unet: Denoiser
    control: ControlNet

    def velocity(self, theirs, z, t, n, controlled=True) -> Tensor:
        """The first n items of the oracle's conditions at latent z and time t."""
        nothing = torch.zeros(n, 25)
        conditions = Conditions(theirs["in.class_labels"][:n], nothing, nothing)
        added = residuals(theirs, self.control, z, t, n) if controlled else None
        return self.unet(z, t, conditions, added)


def residuals(theirs, control, z, t, n, scale=1.0):
    told = (
        theirs[f"in.{name}"][:n] for name in ("class_labels", "controlnet_cond", "is_mod_synthetic")
    )
    return control(z, t, *told, scale)


def unet(theirs) -> Denoiser:
    made = theirs.facts["constructor_here"]["unet"]
    network = Denoiser(settings(made), tuple(theirs["in.x"].shape[1:]), load_schema())
    network.metadata_encoder = Given(theirs["in.demographics_embedding"])
    weights = theirs.weights("unet")
    for old, new in RENAMED.items():
        weights = {
            new + key.removeprefix(old) if key.startswith(old) else key: value
            for key, value in weights.items()
        }
    network.load_state_dict(weights)
    return network.eval()


@pytest.fixture(scope="module")
def pair(theirs) -> Pair:
    return Pair(unet(theirs), filled(lambda: branch(theirs), theirs.weights("controlnet")))


def times(theirs) -> Tensor:
    """In double precision: the sinusoids see the oracle's own timesteps."""
    return theirs["in.t"].double() / TIME_SCALE


@torch.no_grad()
def test_the_residuals_are_the_authors(theirs, pair):
    z, t = theirs["in.x"], times(theirs)
    down, middle = residuals(theirs, pair.control, z, t, len(z))
    for number, made in enumerate(down):
        assert_close(made, theirs[f"out.controlnet.down{number}"], FORWARD, f"skip {number}")
    assert not theirs.has(f"out.controlnet.down{len(down)}")
    assert_close(middle, theirs["out.controlnet.mid"], FORWARD, "middle")
    half = residuals(theirs, pair.control, z, t, len(z), 0.5)
    assert torch.equal(2 * half[1], middle)
    assert all(torch.equal(2 * one, other) for one, other in zip(half[0], down, strict=True))


@torch.no_grad()
@pytest.mark.parametrize(("controlled", "name"), [(False, "alone"), (True, "controlled")])
def test_the_velocity_is_the_authors(theirs, pair, controlled, name):
    z = theirs["in.x"]
    made = pair.velocity(theirs, z, times(theirs), len(z), controlled)
    assert_close(made, theirs[f"out.unet.{name}"], FORWARD, name)


@torch.no_grad()
def test_a_chain_of_euler_steps_ends_where_theirs_does(theirs, pair):
    """MONAI's steps go to the next timestep's whole number, which was half precision."""
    steps = theirs["out.sample.timesteps"].double()
    z = theirs["in.x"][:1]
    for now, later in zip(steps, [*steps[1:], torch.tensor(0.0)], strict=True):
        v = pair.velocity(theirs, z, (now / TIME_SCALE)[None], 1)
        z = z + float(now - int(later)) / TIME_SCALE * v
    assert_close(z, theirs["out.sample.latent"], CHAIN, "latent")


@torch.no_grad()
def test_a_fresh_branch_changes_no_bit_and_starts_as_the_unet(theirs, pair):
    fresh = branch(theirs).eval()
    named = {key for key, value in fresh.state_dict().items() if not value.any()}
    assert {key for key in named if key.endswith("weight")} == set(
        theirs.facts["zero_init"]["zero_weights"]
    )
    z, t = theirs["in.x"], times(theirs)
    alone = pair.velocity(theirs, z, t, len(z), controlled=False)
    for _ in range(2):
        assert torch.equal(Pair(pair.unet, fresh).velocity(theirs, z, t, len(z)), alone)
        left = fresh.start_as(pair.unet)
    assert sorted(left) == sorted(theirs.facts["copying_from_unet"]["not_copied"])


@pytest.mark.parametrize(("stage", "scans"), [("stage_a", 1), ("stage_b", 2), ("stage_c", 3)])
def test_the_study_size_has_their_names_and_sizes(theirs, stage, scans):
    facts = theirs.facts["published"][stage]
    latent = theirs.facts["constructor_here"]["unet"]["in_channels"]
    ours = shapes_of(lambda: ControlNet(UNetSettings(), latent, scans * latent, 16))
    assert sum(torch.Size(shape).numel() for shape in ours.values()) == facts["parameters"]
    assert len(ours) == facts["key_count"]
    if "keys" in facts:
        assert ours == published_shapes(facts["keys"])
