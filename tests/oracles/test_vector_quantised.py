"""ALDM's VQ-GAN and BrainSynth's VQ-VAE against their authors' numbers."""

import pytest
import torch

from tests.oracles.oracle import (
    FORWARD,
    PUBLISHED,
    Oracle,
    assert_close,
    oracle,
    published_shapes,
)
from wfdm import models
from wfdm.config.codebooks import AldmQuantised, BrainSynthQuantised
from wfdm.errors import UserError
from wfdm.models.compressors.codebook import nearest
from wfdm.models.compressors.published import load_pretrained

STUDY = {
    "aldm": AldmQuantised(kind="aldm-vqgan"),
    "brainsynth": BrainSynthQuantised(kind="brainsynth-vqvae"),
}
NETWORK = {"aldm": "vqgan", "brainsynth": "vqvae"}
CONTAINER = {"aldm": "state_dict", "brainsynth": "network"}
BEFORE = {"aldm": "pre_quant", "brainsynth": "encoding"}
LOSS = {"aldm": "codebook_loss", "brainsynth": "loss"}


@pytest.fixture(params=STUDY)
def theirs(request) -> Oracle:
    return oracle(request.param)


def architecture(theirs: Oracle, weights):
    """The sizes that weights show, and what no weight shows as the facts tell it."""
    made = theirs.facts["constructor_here"]
    untold = (
        {"norm_groups": made["ddconfig"]["num_groups"]}
        if theirs.system == "aldm"
        else {"decay": made["vq_decay"]}
    )
    with torch.device("meta"):
        shown = models.build(STUDY[theirs.system]).shown_by(weights)
    return shown.model_copy(update=untold)


def loaded(theirs: Oracle, folder):
    weights = theirs.weights(NETWORK[theirs.system])
    file = folder / "published.pt"
    torch.save({CONTAINER[theirs.system]: weights}, file)
    return load_pretrained(architecture(theirs, weights), file)


def inside(theirs: Oracle, image):
    """A volume of ours for an image of theirs: ALDM's is in [-1, 1]."""
    return (image + 1) / 2 if theirs.system == "aldm" else image


def outside(theirs: Oracle, volume):
    return 2 * volume - 1 if theirs.system == "aldm" else volume


@torch.no_grad()
def test_it_encodes_quantises_and_decodes_as_its_authors(theirs, tmp_path):
    module, system = loaded(theirs, tmp_path), theirs.system
    volume = inside(theirs, theirs["in.encode.image"])
    z, std = module.encode(volume)
    assert_close(z, theirs[f"out.encode.{BEFORE[system]}"], FORWARD, "latent")
    assert not std.any()
    indices = nearest(z, module.codes)
    assert torch.equal(indices.flatten(), theirs["out.encode.indices"].flatten().long())
    assert_close(module.quantise(z), theirs["out.encode.quantised"], FORWARD, "codes")
    made, terms = module(volume, torch.Generator())
    for volume in (made, module.decode(z)):
        wanted = theirs["out.decode.reconstruction"]
        assert_close(outside(theirs, volume), wanted, FORWARD, "reconstruction")
    wanted = theirs[f"out.encode.{LOSS[system]}"][0]
    torch.testing.assert_close(terms["commitment"], wanted, rtol=1e-5, atol=0)


@torch.no_grad()
def test_any_latent_can_be_decoded_as_it_is(tmp_path):
    theirs = oracle("aldm")
    made = loaded(theirs, tmp_path).decode_codes(theirs["in.decode.z"])
    assert_close(outside(theirs, made), theirs["out.decode.of_z"], FORWARD, "decoded")


@torch.no_grad()
def test_codes_decode_by_their_indices(tmp_path):
    theirs = oracle("brainsynth")
    module = loaded(theirs, tmp_path)
    codes = module.codes[theirs["out.encode.indices"].long()].movedim(-1, 1)
    assert_close(module.decode_codes(codes), theirs["out.decode.of_indices"], FORWARD, "decoded")


def test_brainsynths_codebook_follows_the_encoder(tmp_path):
    """A code without hits is divided by almost nothing, so tolerances are of each value."""
    theirs = oracle("brainsynth")
    module = loaded(theirs, tmp_path).train()
    module.counts.zero_()
    module.sums.copy_(module.codes)
    for step in (1, 2):
        module(theirs["in.ema.images"], torch.Generator())
        kept = {"N": module.counts, "embed_avg": module.sums, "weight": module.codes}
        for name, made in kept.items():
            wanted = theirs[f"out.ema.step{step}.{name}"]
            torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-6, msg=name)


def test_aldms_codebook_learns_by_gradient_and_the_encoder_straight_through(tmp_path):
    theirs = oracle("aldm")
    module = loaded(theirs, tmp_path).requires_grad_(True)
    volume = inside(theirs, theirs["in.encode.image"])
    made, terms = module(volume, torch.Generator())
    (by_codes,) = torch.autograd.grad(terms["commitment"], module.codes, retain_graph=True)
    hit = torch.unique(theirs["out.encode.indices"].long())
    assert by_codes.abs().sum(1).nonzero().flatten().tolist() == hit.tolist()
    weight = module.encoder[0].weight
    assert torch.autograd.grad(made.sum(), weight)[0].abs().sum() > 0


@torch.no_grad()
def test_the_published_size_is_as_published(theirs):
    """ALDM's oracle has the sizes of 2025; those of the released file are counted below."""
    weights = theirs.generated(published_shapes(theirs.facts["published"]["keys"]).items())
    if theirs.system == "brainsynth":  # two names of one tensor, and this is what it holds
        book = "quantizer.0.impl."
        weights[f"{book}weight"] = weights[f"{book}embedding.weight"]
    theirs.check_recipe(weights)
    made = theirs.facts["constructor_published"]
    groups = {"norm_groups": made["ddconfig"]["num_groups"]} if "ddconfig" in made else {}
    module = models.build(architecture(theirs, weights).model_copy(update=groups)).eval()
    module.load_published(weights)
    encoded, _ = module.encode(inside(theirs, theirs["in.published.image"]))
    wanted = theirs[f"out.published.{BEFORE[theirs.system]}"]
    assert_close(encoded, wanted, PUBLISHED, "latent")
    volume = outside(theirs, module.decode_codes(theirs["in.published.z"]))
    assert_close(volume, theirs["out.published.decoded"], PUBLISHED, "decoded")


def test_the_study_has_the_number_of_parameters_of_the_released_file(theirs):
    with torch.device("meta"):
        module = models.build(STUDY[theirs.system])
    count = sum(parameter.numel() for parameter in module.parameters())
    if theirs.system == "aldm":
        older = theirs.facts["version_warning"]["earlier_architecture"]
        assert count == older["autoencoder_parameters"]
    else:
        assert count == theirs.facts["published"]["trainable"]
        assert count + module.codes.numel() == theirs.facts["published"]["parameters"]


def test_the_released_file_of_aldm_has_the_studys_names_and_sizes():
    facts = oracle("aldm").facts["version_warning"]["earlier_architecture"]
    with torch.device("meta"):
        module = models.build(STUDY["aldm"])
        weights = {
            key: torch.empty(shape) for key, shape in published_shapes(facts["keys"]).items()
        }
        assert module.shown_by(weights) == module.settings
        module.load_published(weights | {"loss.d.weight": torch.empty(1)})


def test_another_size_is_told_with_what_to_write(theirs, tmp_path):
    file = tmp_path / "stage1.ckpt"
    torch.save({"state_dict": theirs.weights(NETWORK[theirs.system])}, file)
    with pytest.raises(UserError, match=r"stage1\.ckpt .* write into its .* channels: .* codes: "):
        load_pretrained(STUDY[theirs.system], file)


@pytest.mark.parametrize("wrong", ["another", "cut", "pickled", "truncated", "list", "extra"])
def test_a_wrong_file_is_one_clear_line(theirs, wrong, tmp_path):
    settings, weights = loaded(theirs, tmp_path).settings, theirs.weights(NETWORK[theirs.system])
    file = tmp_path / "wrong.ckpt"
    if wrong == "truncated":
        whole = (tmp_path / "published.pt").read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
    else:
        other = next(name for name in STUDY if name != theirs.system)
        content = {
            "another": {"network": oracle(other).weights(NETWORK[other])},
            "cut": dict(list(weights.items())[:-2]),
            "extra": weights | {"encoder.more.weight": torch.zeros(1)},
            "list": [1, 2],
            "pickled": {"state_dict": weights, "made": theirs},
        }
        torch.save(content[wrong], file)
    with pytest.raises(UserError, match=r"wrong\.ckpt") as told:
        load_pretrained(settings, file)
    assert "\n" not in str(told.value) and len(str(told.value)) < 500
