"""LDM against its authors' numbers: networks, steps, saver, sizes, names."""

import numpy as np
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
from wfdm.baselines import ldm_networks as ldm
from wfdm.processes import ddpm


@pytest.fixture(scope="module")
def theirs() -> Oracle:
    return oracle("ldm")


def network(theirs, name):
    made = theirs.facts["constructor_here"][name]
    sizes = (made["num_channels"], made["num_res_blocks"], made["norm_num_groups"])
    build = getattr(ldm, name)
    return filled(lambda: build(*sizes), ldm.renamed(theirs.weights(name)))


@pytest.fixture(scope="module")
def autoencoder(theirs):
    return network(theirs, "autoencoder")


@pytest.fixture(scope="module")
def unet(theirs):
    return network(theirs, "unet")


@pytest.mark.parametrize("name", ["autoencoder", "unet"])
def test_published_names_and_sizes_are_ours(theirs, name):
    facts = theirs.facts["published"][name]
    ours, old = shapes_of(getattr(ldm, name)), published_shapes(facts["keys"])
    assert ldm.renamed(old) == ours
    assert ldm.renamed(ours) == ours
    told = facts["renamed_in_monai_1_6_1"]
    assert {key: new for key, new in zip(old, ldm.renamed(old), strict=True) if key != new} == told
    assert sum(torch.Size(shape).numel() for shape in ours.values()) == facts["parameters"]


@torch.inference_mode()
def test_the_autoencoder_is_theirs(theirs, autoencoder):
    mean, std = autoencoder.encode(theirs["in.encode.image"])
    assert_close(mean, theirs["out.encode.mu"], FORWARD, "mean")
    assert_close(std, theirs["out.encode.sigma"], FORWARD, "deviation")
    assert_close(autoencoder.decode(mean), theirs["out.decode.of_mu"], FORWARD, "decoded mean")
    made = autoencoder.decode(theirs["in.decode.z"])
    assert_close(made, theirs["out.decode.of_z"], FORWARD, "decoded")


@torch.inference_mode()
def test_the_network_sees_the_conditions_as_planes_and_as_context(theirs, unet):
    noise = ldm.predicted_noise(unet, theirs["in.unet.conditioning"])
    made = noise(theirs["in.unet.latent"], theirs["in.unet.t"])
    assert_close(made, theirs["out.unet.eps"], FORWARD, "noise")


@pytest.mark.parametrize("case", ["ddim", "step50"])
def test_timesteps_are_multiples_from_zero(theirs, case):
    wanted = theirs[f"out.{case}.timesteps"]
    times = ldm.sampling_times(len(wanted))
    assert ((times[:-1] * 1000).round() - 1).long().tolist() == wanted.tolist()
    assert times[-1] == 0


@torch.inference_mode()
def test_a_step_is_theirs(theirs):
    z, noise = theirs["in.unet.latent"][:1], theirs["out.unet.eps"][:1]
    times = ldm.sampling_times(50)
    for place, now in enumerate(times[:-1]):
        name = f"t{round(float(now) * 1000) - 1}"
        if not theirs.has(f"out.step50.prev_{name}"):
            continue
        made = ldm.sampled(lambda *_: noise, z, times[place : place + 2])
        assert_close(made, theirs[f"out.step50.prev_{name}"], FORWARD, f"step at {name}")
        clean = ddpm.clean(noise, z, now[None].float(), ldm.PROCESS)
        assert_close(clean, theirs[f"out.step50.x0_{name}"], FORWARD, f"data at {name}")
    kept = ddpm.levels(torch.arange(1, 1001) / 1000, ldm.PROCESS)[0] ** 2
    assert_close(kept.float(), theirs["out.step50.alphas_cumprod"], 1e-6, "kept")


@torch.inference_mode()
def test_a_chain_ends_where_theirs_does(theirs, unet, autoencoder):
    noise = ldm.predicted_noise(unet, theirs["in.unet.conditioning"][:1])
    times = ldm.sampling_times(len(theirs["out.ddim.timesteps"]))
    latent = ldm.sampled(noise, theirs["in.unet.latent"][:1], times)
    assert_close(latent, theirs["out.ddim.final_latent"], CHAIN, "latent")
    image = autoencoder.decode(latent)[..., ::2, ::2, ::2]
    assert_close(image, theirs["out.ddim.image_stride2"], CHAIN, "image")


def test_the_saver_is_theirs(theirs):
    made = ldm.saved(theirs["in.saver.volume"][0, 0]).numpy()
    wanted = theirs["out.saver.uint8"].numpy()
    np.testing.assert_array_equal((made.astype(np.float64) * 255).astype(np.uint8), wanted)


@torch.inference_mode()
def test_the_published_autoencoder_is_theirs(theirs):
    facts = theirs.facts["published"]["autoencoder"]
    weights = theirs.generated(published_shapes(facts["keys"]).items())
    theirs.check_recipe(weights)
    module = filled(ldm.autoencoder, ldm.renamed(weights))
    mean, std = module.encode(theirs["in.published.image"])
    assert_close(mean, theirs["out.published.mu"], PUBLISHED, "mean")
    assert_close(std, theirs["out.published.sigma"], PUBLISHED, "deviation")
    made = module.decode(theirs["in.published.z"])
    assert_close(made, theirs["out.published.decoded"], PUBLISHED, "decoded")
