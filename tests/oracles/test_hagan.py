"""HA-GAN against its authors' numbers: generator, slab, encoders, sizes, names."""

import pytest
import torch

from tests.oracles.oracle import (
    FORWARD,
    PUBLISHED,
    Oracle,
    assert_close,
    filled,
    oracle,
    published_shapes,
    shapes_of,
    uniform,
)
from wfdm.baselines.hagan_discriminators import Discriminator
from wfdm.baselines.hagan_networks import SIDES, Encoder, Generator, SubEncoder


@pytest.fixture(scope="module")
def hagan() -> Oracle:
    return oracle("hagan")


def generator(hagan, side):
    """The generator with the recipe's weights."""
    settings = hagan.facts["constructor_here"][f"g{side}"]

    def build():
        return Generator(side, settings["latent_dim"], settings["channel"])

    weights = hagan.generated(shapes_of(build).items())
    hagan.check_recipe(weights)
    return filled(build, weights)


@pytest.mark.parametrize("side", SIDES)
def test_published_names_and_sizes_are_ours(hagan, side):
    facts = hagan.facts["published"][str(side)]
    networks = {
        "G": lambda: Generator(side),
        "E": Encoder,
        "Sub_E": lambda: SubEncoder(side),
    }
    for name, build in networks.items():
        ours = shapes_of(build)
        assert ours == published_shapes(facts[name]["keys"])
        assert (
            sum(torch.Size(shape).numel() for shape in ours.values()) == (facts[name]["parameters"])
        )


@pytest.mark.parametrize("side", SIDES)
def test_the_discriminators_have_the_published_layers(hagan, side):
    """Without the vectors of its power iteration, which torch keeps in another form."""
    facts = hagan.facts["published"][str(side)]["D"]
    theirs = published_shapes(facts["keys"])
    theirs = {key: shape for key, shape in theirs.items() if not key.endswith(("u0", "sv0"))}
    named = {
        key.replace("parametrizations.weight.original", "weight"): shape
        for key, shape in shapes_of(lambda: Discriminator(side)).items()
        if not key.endswith(("._u", "._v"))
    }
    assert named == theirs
    assert sum(torch.Size(shape).numel() for shape in named.values()) == facts["parameters"]


@pytest.fixture(scope="module", params=SIDES)
def made(request, hagan):
    """A size, its generator, and what it makes: the slab first, the volume where it is cheap."""
    side = request.param
    if f"in.g{side}.z" not in hagan.tensors:
        pytest.skip(f"this oracle has no generator of {side}")
    return side, generator(hagan, side)


@torch.inference_mode()
def test_a_training_pass_makes_their_slab_and_small_volume(hagan, made):
    side, network = made
    first = crop_of(hagan, side)
    slab, small = network.slab(hagan[f"in.g{side}.z"], first)
    for name, ours in (("slab", slab), ("small", small)):
        theirs = hagan[f"out.g{side}.{name}_strided"]
        steps = [ours.shape[axis] // theirs.shape[axis] for axis in (2, 3, 4)]
        strided = ours[:, :, :: steps[0], :: steps[1], :: steps[2]]
        assert_close(strided, theirs, PUBLISHED, f"{name} of {side}")


@pytest.mark.slow
@torch.inference_mode()
def test_a_vector_becomes_their_volume(hagan, made):
    side, network = made
    volume = network(hagan[f"in.g{side}.z"])
    theirs = {name: hagan[f"out.g{side}.eval_{name}"] for name in ("strided", "centre16")}
    middle, step = side // 2 - 8, side // theirs["strided"].shape[-1]
    centre = (slice(middle, middle + 16),) * 3
    assert_close(volume[..., ::step, ::step, ::step], theirs["strided"], PUBLISHED, "strided")
    assert_close(volume[(..., *centre)], theirs["centre16"], PUBLISHED, "centre")
    corner = volume[..., :12, :12, :12]
    assert_close(corner, hagan[f"out.g{side}.eval_corner12"], PUBLISHED, "corner")


def crop_of(hagan, side):
    """The slab's first slice, as the facts tell it."""
    for case in hagan.facts["cases"]:
        if case["case"] == f"g{side}" and "crop_idx=" in case["call"]:
            return int(case["call"].split("crop_idx=")[1].split(":")[0].split(",")[0])
    raise AssertionError("the facts tell no crop")


@pytest.mark.parametrize("side", SIDES)
@torch.inference_mode()
def test_the_encoders_answer_as_theirs(hagan, side):
    settings = hagan.facts["constructor_here"]
    encoder = filled(lambda: Encoder(settings["E"]["channel"]), hagan.weights(f"E{side}"))
    assert_close(encoder(hagan[f"in.E{side}.x"]), hagan[f"out.E{side}.y"], FORWARD, "E")

    sub = settings["Sub_E"]
    build = filled(
        lambda: SubEncoder(side, sub["channel"], sub["latent_dim"]),
        hagan.weights(f"SubE{side}"),
    )
    theirs = hagan[f"out.SubE{side}.y"]
    shape = (len(theirs), sub["channel"] // 4, *[side // 4] * 3)
    name, seed = f"SubE{side}.h", hagan.facts["weight_recipe"]["seed"]
    given = torch.from_numpy(uniform(name, torch.Size(shape).numel(), seed)).float()
    assert_close(build(given.reshape(shape)), theirs, FORWARD, "Sub_E")
