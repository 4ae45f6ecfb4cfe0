"""Med-DDPM against its authors' numbers: planes, network, schedule, steps, chain, sizes, names."""

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
from wfdm.baselines import med_ddpm_networks as med
from wfdm.baselines.ancestral import noised
from wfdm.baselines.diffusion_unet import Shape, UNet, timestep_embedding


@pytest.fixture(scope="module")
def theirs() -> Oracle:
    return oracle("medddpm")


def shape_of(given):
    """The U-Net that the authors' constructor makes of these arguments."""
    multiples = given.get("channel_mult", med.PUBLISHED.multiples)
    split = multiples.split(",") if isinstance(multiples, str) else multiples
    resolutions = str(given.get("attention_resolutions", "16")).split(",")
    return Shape(
        inputs=given["in_channels"],
        outputs=given["out_channels"],
        channels=given["num_channels"],
        multiples=tuple(map(int, split)),
        blocks=given["num_res_blocks"],
        skips="beside",
        resampling="convolution",
        attention=frozenset(given["image_size"] // int(each) for each in resolutions),
        middle_attention=True,
        period=med.PERIOD,
    )


@pytest.fixture(scope="module")
def network(theirs) -> UNet:
    published = theirs.facts["constructor_published"]["create_model"]
    given = published | theirs.facts["constructor_here"]
    return filled(lambda: UNet(shape_of(given)), theirs.weights("unet"))


def test_published_names_and_sizes_are_ours(theirs):
    facts = theirs.facts["published"]
    ours = shapes_of(lambda: UNet(med.PUBLISHED))
    assert ours == published_shapes(facts["unet_keys"])
    count = sum(torch.Size(shape).numel() for shape in ours.values())
    assert count == facts["unet_parameters"]
    given = shapes_of(lambda: UNet(shape_of(theirs.facts["constructor_published"]["create_model"])))
    assert given == ours
    assert (
        list(med.SIZE[:2])
        == [theirs.facts["constructor_published"]["create_model"]["image_size"]] * 2
    )


def test_the_whole_head_model_has_attention_on_its_levels(theirs):
    facts = theirs.facts["published_whole_head_128"]
    ours = shapes_of(lambda: UNet(shape_of(facts["constructor"])))
    assert len(ours) == facts["unet_key_count"]
    assert sum(torch.Size(shape).numel() for shape in ours.values()) == facts["unet_parameters"]
    assert [key for key in ours if "qkv.weight" in key] == facts["attention_modules"]


def test_the_condition(theirs):
    planes = med.planes_of(theirs["in.labels"])
    assert torch.equal(planes, theirs["in.condition"])


def test_the_sinusoid(theirs):
    wanted = theirs["out.timestep_embedding"]
    made = timestep_embedding(theirs["in.timestep_embedding.t"], wanted.shape[1], med.PERIOD)
    assert_close(made, wanted, FORWARD)


def test_the_schedule(theirs):
    plan = med.schedule()
    ours = {"betas": plan.betas, "alphas_cumprod": plan.kept}
    ours["sqrt_recip_alphas_cumprod"] = (1 / plan.kept).sqrt()
    ours["sqrt_recipm1_alphas_cumprod"] = (1 / plan.kept - 1).sqrt()
    for name, values in ours.items():
        torch.testing.assert_close(
            values.float(), theirs[f"out.schedule.{name}"], rtol=1e-5, atol=1e-9
        )


@torch.inference_mode()
def test_one_forward(theirs, network):
    given = torch.cat([theirs["in.unet.x"], theirs["in.condition"]], dim=1)
    assert_close(network(given, theirs["in.unet.t"]), theirs["out.unet.y"], FORWARD)


def test_single_steps(theirs, network):
    x, noise = theirs["in.p_sample.x_t"], theirs["in.p_sample.noise"]
    start = "out.p_sample.sample_t"
    steps = [int(key.removeprefix(start)) for key in theirs.tensors if key.startswith(start)]
    assert steps
    for t in steps:
        made = med.step(network, med.schedule(), t, x, theirs["in.condition"], noise)
        assert_close(made, theirs[f"{start}{t}"], FORWARD, f"sample at {t}")


def test_the_last_steps_in_a_chain(theirs, network):
    x, noises = theirs["in.p_sample.x_t"], theirs["in.chain.noises"]
    for number, noise in enumerate(noises, start=1):
        place = len(noises) - number
        x = med.step(network, med.schedule(), place, x, theirs["in.condition"], noise)
    assert_close(x, theirs["out.chain.final"], CHAIN)


@torch.inference_mode()
def test_the_training_loss(theirs, network):
    t, noise = theirs["in.loss.t"], theirs["in.loss.noise"]
    x = noised(med.schedule(), t, theirs["in.loss.x0"], noise)
    assert_close(x, theirs["out.loss.x_t"], FORWARD)
    answer = network(torch.cat([x, theirs["in.condition"]], dim=1), t)
    assert_close((answer - noise).abs().mean().reshape(1), theirs["out.loss.l1"], FORWARD)


@torch.inference_mode()
def test_the_published_size(theirs):
    def build():
        return UNet(med.PUBLISHED)

    weights = theirs.generated(shapes_of(build).items())
    theirs.check_recipe(weights)
    made = filled(build, weights)(theirs["in.published.x"], theirs["in.published.t"])
    assert_close(made, theirs["out.published.y"], PUBLISHED)
