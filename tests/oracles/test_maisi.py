"""MAISI against its authors' numbers: networks, timesteps, guided steps, sizes, names."""

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
from wfdm.baselines import maisi_networks as maisi


@pytest.fixture(scope="module")
def theirs() -> Oracle:
    return oracle("maisi")


@pytest.fixture(scope="module")
def autoencoder(theirs):
    made = theirs.facts["constructor_here"]["autoencoder"]
    sizes = (made["num_channels"], made["num_res_blocks"], made["norm_num_groups"])
    return filled(lambda: maisi.autoencoder(*sizes), theirs.weights("autoencoder"))


@pytest.fixture(scope="module")
def unet(theirs):
    made = theirs.facts["constructor_here"]["unet"]
    sizes = (made["num_channels"], made["num_res_blocks"], made["num_head_channels"][-1])
    groups = made["norm_num_groups"]
    return filled(lambda: maisi.unet(*sizes, groups), theirs.weights("unet"))


@pytest.mark.parametrize("name", ["autoencoder", "unet"])
def test_published_names_and_sizes_are_ours(theirs, name):
    facts = theirs.facts["published"][name]
    ours = shapes_of(getattr(maisi, name))
    assert ours == published_shapes(facts["keys"])
    assert sum(torch.Size(shape).numel() for shape in ours.values()) == facts["parameters"]


@torch.inference_mode()
def test_the_autoencoder_is_theirs(theirs, autoencoder):
    mean, std = autoencoder.encode(theirs["in.encode.image"])
    assert_close(mean, theirs["out.encode.mu"], FORWARD, "mean")
    assert_close(std, theirs["out.encode.sigma"], FORWARD, "deviation")
    made = autoencoder.decode(theirs["in.decode.z"])
    assert_close(made, theirs["out.decode.image"], FORWARD, "decoded")


@torch.inference_mode()
def test_the_velocity_is_theirs(theirs, unet):
    told = zip(
        theirs["in.unet.x"],
        theirs["in.unet.t"],
        theirs["in.unet.class_labels"],
        theirs["in.unet.spacing_times_100"] / maisi.PER_MM,
        theirs["out.unet.v"],
        strict=True,
    )
    for x, t, label, spacing, wanted in told:
        velocity = maisi.guided(unet, label[None], spacing.tolist(), 1.0)
        assert_close(velocity(x[None], float(t))[0], wanted, FORWARD, "velocity")


@pytest.mark.parametrize("size", [(192, 224, 160), (256, 256, 128)])
def test_timesteps_are_theirs_to_the_last_bit(theirs, size):
    wanted = theirs[f"out.rflow.timesteps_{'x'.join(map(str, size))}_30"]
    latent = (4, *(side // maisi.FACTOR for side in size))
    assert torch.equal(maisi.timesteps(30, latent).float(), wanted)


@torch.inference_mode()
def test_guided_steps_end_where_theirs_do(theirs, unet, autoencoder):
    start = theirs["in.unet.x"][:1]
    wanted = theirs["out.rflow.timesteps"]
    times = maisi.timesteps(len(wanted), tuple(start.shape[1:]))
    assert torch.equal(times.float(), wanted)
    spacing = theirs["in.unet.spacing_times_100"][0] / maisi.PER_MM
    velocity = maisi.guided(unet, theirs["in.unet.class_labels"][:1], spacing.tolist(), 2.0)
    latent = maisi.sampled(velocity, start, times)
    assert_close(latent, theirs["out.rflow.latent"], CHAIN, "latent")
    made = autoencoder.decode(latent[..., :4, :4, :4] / 1.25)
    wanted = theirs["out.rflow.decoded_corner"]
    assert_close(made, wanted, CHAIN, "decoded")
    assert torch.equal(maisi.saved(wanted), theirs["out.rflow.int16"])


@pytest.mark.slow
@torch.inference_mode()
def test_the_published_sizes_answer_as_theirs(theirs):
    weights = {
        name: theirs.generated(published_shapes(theirs.facts["published"][name]["keys"]).items())
        for name in ("autoencoder", "unet")
    }
    module = filled(maisi.autoencoder, weights["autoencoder"])
    mean, std = module.encode(theirs["in.published.image"])
    assert_close(mean, theirs["out.published.mu"], PUBLISHED, "mean")
    assert_close(std, theirs["out.published.sigma"], PUBLISHED, "deviation")
    made = module.decode(theirs["in.published.z"])
    assert_close(made, theirs["out.published.decoded"], PUBLISHED, "decoded")
    network = filled(maisi.unet, weights["unet"])
    spacing = (theirs["in.unet.spacing_times_100"][0] / maisi.PER_MM).tolist()
    velocity = maisi.guided(network, theirs["in.unet.class_labels"][:1], spacing, 1.0)
    made = velocity(theirs["in.published.x"], float(theirs["in.unet.t"][0]))
    assert_close(made, theirs["out.published.v"], PUBLISHED, "velocity")
