"""Every architecture of table 3 behind one protocol, against other people's implementations."""

import copy

import pytest
import torch
from brainmint.models.compression.wavelet_vae import WaveletAutoencoder as TheirWaveletVAE
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.networks.nets import VQVAE as MonaiVQVAE  # noqa: N811
from monai.networks.nets import AutoencoderKL
from torch.distributions import Normal, kl_divergence

from wfdm import models
from wfdm.config.codebooks import VectorQuantised
from wfdm.config.compressors import (
    HaarTransform,
    KLAutoencoder,
    MaisiAutoencoder,
    WaveletAutoencoder,
    WaveletFusion,
)
from wfdm.config.study import Study
from wfdm.errors import UserError
from wfdm.models.compressors.published import load_pretrained
from wfdm.training.checkpointing import checkpoint_blocks

SMALL = {
    "wf-vae": WaveletFusion(
        kind="wavelet-fusion", channels=(8, 16), wavelet_channels=8, attention=True, norm_groups=4
    ),
    "wavelet-vae": WaveletAutoencoder(
        kind="wavelet-vae", channels=16, attention=True, norm_groups=4
    ),
    "maisi": MaisiAutoencoder(kind="maisi", channels=(8, 8, 16), norm_groups=4),
    "ldm": KLAutoencoder(kind="autoencoder-kl", channels=(8, 8, 8, 16), norm_groups=4),
    "vq": VectorQuantised(kind="vq-vae", channels=(8, 16), codes=32),
}
LATENTS = {"wf-vae": (4, 4), "wavelet-vae": (4, 4), "maisi": (4, 4), "ldm": (3, 8), "vq": (4, 4)}


def volumes(batch=1, shape=(8, 16, 8)):
    return torch.rand((batch, 1, *shape), generator=torch.Generator().manual_seed(1))


def seeded(architecture) -> models.Compressor:
    torch.manual_seed(2)
    module = models.build(architecture)
    for parameter in module.parameters():  # zero convolutions would hide what they multiply
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    return module


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("vae-gan", 20_944_897),
        ("maisi-vae", 20_944_897),
        ("wavelet-vae", 15_103_616),
        ("ldm-vae", 13_766_248),
        ("dwt-2", 0),
    ],
)
def test_the_study_size_has_the_known_number_of_parameters(name, count):
    with torch.device("meta"):
        module = models.build(Study().compressors[name].architecture)
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == count


@pytest.mark.parametrize("name", SMALL)
def test_the_protocol(name, tmp_path):
    channels, factor = LATENTS[name]
    module, x = seeded(SMALL[name]).eval(), volumes(2)
    models.save(tmp_path, module)
    back = models.load(tmp_path)
    with torch.no_grad():
        mean, std = module.encode(x)
        made = module.decode(mean)
        assert mean.shape == std.shape == (2, channels, *(side // factor for side in x.shape[2:]))
        assert module.factor == factor and made.shape == x.shape
        assert (std >= 0).all()
        assert torch.equal(back.decode(back.encode(x)[0]), made)
    with pytest.raises(UserError, match=f"multiple of {factor}"):
        module.encode(volumes(shape=(8, 18, 8)))


@pytest.mark.parametrize("name", [name for name in SMALL if name != "vq"])
def test_the_training_pass_decodes_a_sample_and_tells_its_kl(name):
    module, x = seeded(SMALL[name]).eval(), volumes(2)
    with torch.no_grad():
        mean, std = module.encode(x)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(5))
        made, terms = module(x, torch.Generator().manual_seed(5))
        torch.testing.assert_close(made, module.decode(mean + std * noise))
    unit = Normal(torch.zeros_like(mean), torch.ones_like(std))
    expected = kl_divergence(Normal(mean, std), unit).flatten(1).sum(1).mean()
    torch.testing.assert_close(terms["kl"], expected, rtol=1e-4, atol=1e-4)


def test_the_wavelet_vae_is_the_authors():
    torch.manual_seed(3)
    theirs = TheirWaveletVAE(
        spatial_dims=3,
        num_res_blocks=(2,),
        channels=(16,),
        attention_levels=(False,),
        latent_channels=4,
        norm_num_groups=4,
    ).eval()
    settings = SMALL["wavelet-vae"].model_copy(update={"haar": "rounded"})
    module = models.build(settings).eval()
    # Their names follow the same order of blocks; attention lists its output projection first.
    mine = {
        **module.encoder.state_dict(prefix="encoder."),
        **module.decoder.state_dict(prefix="decoder."),
    }
    wanted = {key: value for key, value in theirs.state_dict().items() if ".blocks." in key}
    taken = {rename(key): value for key, value in wanted.items()}
    assert taken.keys() == mine.keys()
    # Their bands: LLL LLH LHL LHH HLL HLH HHL HHH, ours have HLL before LHH; two stages of them.
    order = [0, 1, 2, 4, 3, 5, 6, 7]
    bands = [8 * second + first for second in order for first in order]
    taken["encoder.0.weight"] = taken["encoder.0.weight"][:, bands]
    taken["decoder.7.weight"] = taken["decoder.7.weight"][bands]
    taken["decoder.7.bias"] = taken["decoder.7.bias"][bands]
    heads = {
        "to_mean": theirs.quant_conv_mu.conv,
        "to_log_variance": theirs.quant_conv_log_sigma.conv,
        "from_latent": theirs.post_quant_conv.conv,
    }
    for name, head in heads.items():
        taken |= {f"{name}.{key}": value for key, value in head.state_dict().items()}
    module.load_state_dict(taken)
    x = volumes()
    with torch.no_grad():
        pairs = [*zip(module.encode(x), theirs.encode(x), strict=True)]
        pairs.append((module.decode(pairs[0][0]), theirs.decode(pairs[0][0])))
    for ours, expected in pairs:
        assert (ours - expected).norm() < 1e-4 * expected.norm()


def rename(key: str) -> str:
    pairs = ((".blocks", ""), (".attn.out_proj", ".out"), (".attn", ""), (".conv.", "."))
    for theirs, ours in pairs:
        key = key.replace(theirs, ours)
    return key


def test_maisi_and_ldm_are_monais_networks_with_published_weights(tmp_path):
    options = {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 1,
        "norm_num_groups": 4,
        "with_encoder_nonlocal_attn": False,
        "with_decoder_nonlocal_attn": False,
    }
    maisi = AutoencoderKlMaisi(
        num_channels=(8, 8, 16),
        num_res_blocks=(2, 2, 2),
        attention_levels=(False,) * 3,
        latent_channels=4,
        num_splits=2,
        dim_split=1,
        save_mem=False,
        **options,
    )
    ldm = AutoencoderKL(
        channels=(8, 8, 8, 16),
        num_res_blocks=(2,) * 4,
        attention_levels=(False,) * 4,
        latent_channels=3,
        **options,
    )
    old = {
        key.replace(".postconv.", ".conv."): value for key, value in ldm.state_dict().items()
    }  # as MONAI GenerativeModels named them
    for name, theirs, state in (
        ("maisi", maisi, {"unet_state_dict": maisi.state_dict()}),
        ("ldm", ldm, old),
    ):
        file, x = tmp_path / f"{name}.pt", volumes(shape=(16, 32, 16))
        torch.save(state, file)
        module = load_pretrained(SMALL[name], file)
        with torch.no_grad():
            theirs.eval()
            mean, std = theirs.encode(x)
            torch.testing.assert_close(module.encode(x), (mean, std), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(
                module.decode(mean), theirs.decode(mean), rtol=1e-4, atol=1e-5
            )
    with pytest.raises(UserError, match=r"ldm\.pt does not hold the weights of .* 'maisi'"):
        load_pretrained(SMALL["maisi"], tmp_path / "ldm.pt")


def test_quantisation_is_monais_and_decoding_moves_to_the_nearest_codes():
    module, x = seeded(SMALL["vq"]).eval(), volumes(2)
    net: MonaiVQVAE = module.net
    with torch.no_grad():
        z, std = module.encode(x)
        assert not std.any()
        torch.testing.assert_close(z, net.encode(2 * x - 1))
        indices = net.index_quantize(2 * x - 1)
        codes = net.quantizer.embed(indices)
        assert torch.equal(module.quantise(z), codes)
        assert torch.equal(module.quantise(codes), codes)
        torch.testing.assert_close(module.decode(z), (net.decode(codes) + 1) / 2)
        made, terms = module(x, torch.Generator())
        torch.testing.assert_close(made, module.decode(z), rtol=1e-4, atol=1e-5)
    assert terms["commitment"] == pytest.approx(0.25 * float((codes - z).square().mean()), rel=1e-4)


def test_the_codebook_follows_the_encoder_in_training_only():
    module, x = seeded(SMALL["vq"]), volumes()
    codebook = module.net.quantizer.quantizer.embedding.weight
    before = codebook.clone()
    with torch.no_grad():
        module.eval()(x, torch.Generator())
        assert torch.equal(codebook, before)
        module.train()(x, torch.Generator())
    assert not torch.equal(codebook, before)


@pytest.mark.parametrize("name", SMALL)
def test_checkpointing_keeps_less_and_changes_no_gradient(name):
    plain = seeded(SMALL[name])
    frugal = copy.deepcopy(plain)
    checkpoint_blocks(frugal)
    kept = {}
    for label, module in (("plain", plain), ("frugal", frugal), ("copy", copy.deepcopy(frugal))):
        kept[label] = saved_bytes(module, volumes())
    assert kept["frugal"] < 0.8 * kept["plain"]
    assert kept["copy"] == kept["frugal"]
    for one, other in zip(plain.parameters(), frugal.parameters(), strict=True):
        assert one.grad is None or torch.equal(one.grad, other.grad)


def saved_bytes(module, x) -> int:
    """Return the bytes that the forward pass keeps for the backward one, which then runs."""
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made, terms = module(x, torch.Generator().manual_seed(0))
        loss = made.square().mean() + sum(terms.values())
    weights = {p.untyped_storage().data_ptr() for p in module.parameters()}
    total = sum(size for place, size in storages.items() if place not in weights)
    loss.backward()
    return total


def test_a_compressor_without_blocks_cannot_be_checkpointed():
    with pytest.raises(UserError, match="HaarCompressor names no blocks"):
        checkpoint_blocks(models.build(HaarTransform(kind="haar", levels=1)))
