import pytest
import torch
from brainmint.models.compression.wavelet_fusion import WaveletFusionAutoencoder

from wfdm import models
from wfdm.config.compressors import HaarTransform, WaveletFusion
from wfdm.errors import UserError
from wfdm.models import haar
from wfdm.models.blocks import Convolution

SHAPE = (32, 48, 40)


def ours(attention=False, **changes) -> WaveletFusion:
    sizes = {"channels": (16, 32), "wavelet_channels": 8, "norm_groups": 8}
    return WaveletFusion(kind="wavelet-fusion", attention=attention, **(sizes | changes))


def theirs(attention: bool) -> WaveletFusionAutoencoder:
    torch.manual_seed(3)
    module = WaveletFusionAutoencoder(
        spatial_dims=3,
        channels=(16, 32),
        wavelet_channels=8,
        attention_levels=(False, False),
        norm_num_groups=8,
        with_encoder_nonlocal_attn=attention,
        with_decoder_nonlocal_attn=attention,
    ).eval()
    for name, parameter in module.named_parameters():
        if "norm" in name:  # ones and zeros would hide a swapped pair
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    return module


def volumes(batch=1, shape=SHAPE):
    return torch.rand((batch, 1, *shape), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("attention, count", [(False, 17_571_432), (True, 32_260_712)])
def test_the_study_size_has_the_authors_number_of_parameters(attention, count):
    with torch.device("meta"):
        module = models.build(WaveletFusion(kind="wavelet-fusion", attention=attention))
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == count


@pytest.mark.parametrize("attention", [False, True])
def test_the_authors_weights_give_the_authors_results(attention, tmp_path):
    oracle, x = theirs(attention), volumes(2)
    file = tmp_path / "theirs.ckpt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in oracle.state_dict().items()}}, file)
    module = models.import_brainmint(file, norm_groups=8)
    assert module.settings == ours(attention, haar="rounded")
    with torch.no_grad():
        mean, std = oracle.encode(x)
        pairs = [*zip(module.encode(x), (mean, std), strict=True)]
        pairs.append((module.decode(mean), oracle.decode(mean)))
    for mine, expected in pairs:
        assert (mine - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize("size", [4, 60])  # small enough for the detour, and not
def test_a_single_item_is_convolved_like_one_of_two(size):
    ours, x = (
        Convolution(3, 5, kernel_size=3, padding=1),
        volumes(2, (size, 120, 6)).expand(-1, 3, -1, -1, -1),
    )
    with torch.no_grad():
        alone, expected = ours(x[:1]), torch.nn.Conv3d.forward(ours, x)[:1]
    assert torch.allclose(alone, expected, atol=1e-6)
    if size == 4:
        assert torch.equal(alone, expected)


@pytest.mark.parametrize("attention", [False, True])
def test_a_fresh_model_codes_block_means_and_gradients(attention):
    torch.manual_seed(5)
    fresh = models.build(ours(attention)).eval()
    code = torch.rand((1, 4, 8, 12, 10), generator=torch.Generator().manual_seed(2))
    c1 = torch.zeros(1, 8, 16, 24, 20)
    c1[:, :1] = haar.inverse(torch.cat((code, torch.zeros(1, 4, 8, 12, 10)), dim=1))
    v = haar.inverse(c1)
    with torch.no_grad():
        mean, _ = fresh.encode(v)
        decoded = fresh.decode(code)
    assert torch.allclose(decoded, v, atol=1e-5)
    assert torch.allclose(v.mean(), code[:, 0].mean() / 8, atol=1e-6)  # a mean of 64 is LLL / 8
    for channel in range(4):  # the code, normalised on the way
        pair = torch.stack((mean[0, channel].flatten(), code[0, channel].flatten()))
        assert torch.corrcoef(pair)[0, 1] > 0.9999


@pytest.mark.parametrize("rounding", ["exact", "rounded"])
@pytest.mark.parametrize("attention", [False, True])
def test_our_weights_go_back_to_the_authors_class(attention, rounding):
    torch.manual_seed(4)
    module, oracle, x = models.build(ours(attention, haar=rounding)), theirs(attention), volumes()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    state = models.export_brainmint(module)
    oracle.load_state_dict(state)  # strict: every name, the Haar filters too
    with torch.no_grad():
        mean, std = oracle.encode(x)
        pairs = [*zip(module.encode(x), (mean, std), strict=True)]
        pairs.append((module.decode(mean), oracle.decode(mean)))
    for mine, expected in pairs:
        assert (mine - expected).norm() < 1e-4 * expected.norm()
    back = models.import_brainmint(state, norm_groups=8)
    assert back.settings == module.settings
    assert all(torch.equal(back.state_dict()[k], v) for k, v in module.state_dict().items())


def test_checkpoints_go_in_and_out_by_command(wfdm, tmp_path):
    oracle = theirs(True)
    torch.save({"state_dict": oracle.state_dict()}, tmp_path / "theirs.pt")
    folder, back = tmp_path / "mine", tmp_path / "back.pt"
    command = ("import-checkpoint", tmp_path / "theirs.pt", "--out", folder, "--norm-groups", 8)
    assert wfdm(*command) == (0, "")
    assert models.load(folder).settings.attention
    assert wfdm("export-checkpoint", folder, "--out", back) == (0, "")
    state = torch.load(back, weights_only=True)
    for name, value in oracle.state_dict().items():
        torch.testing.assert_close(state[name], value)
    models.save(folder, models.build(HaarTransform(kind="haar", levels=1)))
    code, told = wfdm("export-checkpoint", folder, "--out", tmp_path / "no.pt")
    assert code == 1 and "holds no wavelet-fusion compressor" in told
    assert not (tmp_path / "no.pt").exists()


def test_the_posterior_is_sampled_with_the_given_generator():
    torch.manual_seed(0)
    module, x = models.build(ours()), volumes()
    with torch.no_grad():
        mean, std = module.encode(x)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(5))
        drawn, terms = module(x, torch.Generator().manual_seed(5))
        torch.testing.assert_close(drawn, module.decode(mean + std * noise))
    assert list(terms) == ["kl"]
    assert mean.shape == std.shape == (1, 4, 8, 12, 10)
    assert (std > 0).all()


@pytest.mark.parametrize("value, std", [(1e4, 22026.4658), (-1e4, 3.0590232e-07)])
def test_the_log_variance_is_clamped(value, std):
    module = models.build(ours())
    torch.nn.init.constant_(module.to_log_variance.bias, value)
    torch.nn.init.zeros_(module.to_log_variance.weight)
    with torch.no_grad():
        assert module.encode(volumes(shape=(8, 8, 8)))[1] == pytest.approx(std, rel=1e-4)


def test_every_parameter_learns():
    module = models.build(ours(attention=True))
    for parameter in module.parameters():  # heads and residual branches start at zero
        torch.nn.init.normal_(parameter, std=0.1)
    recon, terms = module(volumes(shape=(8, 8, 8)), torch.Generator().manual_seed(0))
    (recon.square().mean() + terms["kl"] / 1000).backward()
    # An attention's key bias shifts every weight of a row alike: softmax does not see it.
    silent = {n for n, p in module.named_parameters() if not p.grad.abs().max() > 1e-9}
    assert all(name.endswith("to_k.bias") for name in silent)


@pytest.mark.parametrize(
    "settings", [ours(), ours(attention=True), HaarTransform(kind="haar", levels=2)]
)
def test_a_saved_compressor_comes_back(settings, tmp_path):
    module = models.build(settings).eval()
    models.save(tmp_path, module)
    back = models.load(tmp_path)
    x = volumes(shape=(16, 16, 16))
    with torch.no_grad():
        assert torch.equal(back.encode(x)[0], module.encode(x)[0])
        z = module.encode(x)[0]
        assert torch.equal(back.decode(z), module.decode(z))
    assert not back.training
    assert not any(p.requires_grad for p in back.parameters())


def test_broken_folders_and_files_are_told(tmp_path):
    with pytest.raises(UserError, match=r"config\.json is missing"):
        models.load(tmp_path)
    models.save(tmp_path, models.build(ours()))
    models.save(tmp_path / "other", models.build(ours(attention=True)))
    (tmp_path / "other" / "model.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="does not hold the model"):
        models.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(UserError, match="damaged"):
        models.load(tmp_path)
    (tmp_path / "config.json").write_text('{"kind": "magic"}')
    with pytest.raises(UserError, match="does not describe a compressor"):
        models.load(tmp_path)
    with pytest.raises(UserError, match="holds no BrainMint"):
        models.import_brainmint({"weight": torch.zeros(1)})
    junk = tmp_path / "x.pt"
    with pytest.raises(UserError, match="cannot be read as weights"):
        models.import_brainmint(junk)
    junk.write_bytes(b"junk")
    with pytest.raises(UserError, match="neither a torch nor a safetensors file"):
        models.import_brainmint(junk)


def test_impossible_sizes_are_refused():
    with pytest.raises(UserError, match="norm_groups 8 must divide"):
        models.build(ours(wavelet_channels=12))
    with pytest.raises(UserError, match=r"10x8x8 voxels .* multiple of 4"):
        models.build(ours()).encode(torch.zeros(1, 1, 10, 8, 8))
