"""WDM against its authors' numbers: subbands, network, steps, chains, loss, sizes, names."""

import pytest
import torch

from tests.oracles.oracle import (
    CHAIN,
    FORWARD,
    PUBLISHED,
    Oracle,
    assert_close,
    filled,
    oracle,
    published_shapes,
    shapes_of,
)
from wfdm.baselines import wdm_networks as wdm
from wfdm.baselines.ancestral import noised
from wfdm.baselines.diffusion_unet import Shape, UNet
from wfdm.models.compressors.uncompressed import as_image, as_seen, subbands, volume_of

CHAINS = {"chain_t3to0": (range(4), None), "chain_respaced4": (None, 4)}


@pytest.fixture(scope="module")
def theirs() -> Oracle:
    return oracle("wdm")


def shape_of(given):
    """The U-Net that the authors' constructor makes of these arguments."""
    return Shape(
        inputs=given["in_channels"],
        outputs=given["out_channels"],
        channels=given["num_channels"],
        multiples=tuple(map(int, given["channel_mult"].split(","))),
        blocks=given["num_res_blocks"],
        skips="averaged" if given["additive_skips"] else "beside",
        resampling="block" if given["resblock_updown"] else "convolution",
        groups=given["num_groups"],
    )


@pytest.fixture(scope="module")
def network(theirs) -> UNet:
    given = theirs.facts["constructor_published"] | theirs.facts["constructor_here"]
    return filled(lambda: UNet(shape_of(given)), theirs.weights("unet"))


def test_published_names_and_sizes_are_ours(theirs):
    facts = theirs.facts["published"]
    ours = shapes_of(lambda: UNet(wdm.PUBLISHED))
    assert ours == published_shapes(facts["keys"])
    assert sum(torch.Size(shape).numel() for shape in ours.values()) == facts["parameters"]
    assert shape_of(theirs.facts["constructor_published"]) == wdm.PUBLISHED


def test_subbands_and_back(theirs):
    bands = subbands(theirs["in.dwt.volume"])
    assert_close(bands, theirs["out.dwt.subbands"], FORWARD)
    assert_close(volume_of(bands), theirs["out.dwt.inverse"], FORWARD)


@torch.inference_mode()
def test_one_forward(theirs, network):
    made = network(theirs["in.unet.x"], theirs["in.unet.t"])
    assert_close(made, theirs["out.unet.y"], FORWARD)


def test_single_steps(theirs, network):
    plan, x = wdm.schedule(), theirs["in.p_sample.x_t"]
    for t in theirs["in.p_sample.t"].tolist():
        x0 = wdm.predicted(network, plan, t, x)
        assert_close(x0, theirs[f"out.p_sample.x0_t{t}"], FORWARD, f"x0 at {t}")
        made = wdm.step(network, plan, t, x, theirs["in.p_sample.noise"])
        assert_close(made, theirs[f"out.p_sample.sample_t{t}"], FORWARD, f"sample at {t}")


@pytest.mark.parametrize("case", CHAINS)
def test_chains(theirs, network, case):
    places, steps = CHAINS[case]
    plan = wdm.schedule().every(torch.tensor(list(places))) if places else wdm.schedule(steps)
    told = next(each for each in theirs.facts["cases"] if each["case"] == case)
    assert plan.asked.flip(0).tolist() == told["timesteps_seen_by_network"]
    torch.testing.assert_close(
        plan.betas, torch.tensor(told["betas"], dtype=torch.float64), rtol=1e-9, atol=0
    )
    x = theirs[f"in.{case}.x"]
    for number, noise in enumerate(theirs[f"in.{case}.noises"], start=1):
        x = wdm.step(network, plan, len(plan.kept) - number, x, noise)
        if number == 2:
            assert_close(x, theirs[f"out.{case}.after_2_steps"], CHAIN, "after 2 steps")
    assert_close(x, theirs[f"out.{case}.final"], CHAIN, "final")
    assert_close((as_image(x) + 1) / 2, theirs[f"out.{case}.image"], CHAIN, "image")


@torch.inference_mode()
def test_the_training_loss(theirs, network):
    data = as_seen(theirs["in.train.image"])
    noise = subbands(theirs["in.train.noise_image_space"])
    t = theirs["in.train.t"]
    answer = network(noised(wdm.schedule(), t, data, noise), t)
    error = ((answer - data) ** 2).mean((0, 2, 3, 4))
    assert_close(error, theirs["out.train.mse_per_subband"], FORWARD)


@torch.inference_mode()
def test_the_published_size(theirs):
    def build():
        return UNet(wdm.PUBLISHED)

    weights = theirs.generated(shapes_of(build).items())
    theirs.check_recipe(weights)
    made = filled(build, weights)(theirs["in.published.x"], theirs["in.published.t"])
    assert_close(made, theirs["out.published.y"], PUBLISHED)
