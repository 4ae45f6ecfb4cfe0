"""Fast inference: how far from float32, and that a wrong lever is refused by its name."""

import copy

import pytest
import torch
from torch import nn

from wfdm.config.compressors import WaveletFusion
from wfdm.config.denoisers import UNetSettings
from wfdm.config.generators import InferenceSettings
from wfdm.data.table import MODALITIES
from wfdm.errors import UserError
from wfdm.generators import guard
from wfdm.generators.guard import LIMITS, guarded
from wfdm.generators.inference import engine, exact, rounding
from wfdm.generators.path import ConditionalPath
from wfdm.latents.space import LatentSpace
from wfdm.models.blocks import Convolution, DoubledConvolution, quicken
from wfdm.models.compressors import registry
from wfdm.models.denoisers import folder
from wfdm.models.denoisers.conditions import Conditions

SPACE = LatentSpace(1.0, (4, 8, 8, 8), (32, 32, 32), 1.0, "", "")
NETWORK = UNetSettings(
    channels=(16, 16), attention=(False, True), head_channels=8, norm_groups=8, metadata_width=8
)
VAE = WaveletFusion(
    kind="wavelet-fusion", channels=(16, 16), wavelet_channels=8, norm_groups=8, attention=True
)
LEVERS = {
    "bf16": InferenceSettings(arithmetic="bf16"),
    "channels last": InferenceSettings(channels_last=True),
    "both": InferenceSettings(arithmetic="bf16", channels_last=True),
}


@pytest.fixture(scope="module", params=[[], ["age", "sex"]], ids=["published", "maps"])
def models(request):
    """A denoiser, published or with maps, and a compressor: random weights, none of them zero."""
    torch.manual_seed(3)
    network = NETWORK.model_copy(update={"maps": request.param})
    made = folder.build(network, SPACE.shape), registry.build(VAE)
    for model in made:
        model.eval().requires_grad_(False)
        for weight in model.parameters():
            if weight.dim() > 1 and not weight.any():
                nn.init.kaiming_uniform_(weight, 5**0.5)
    return made


def conditions(count: int = 1) -> Conditions:
    return Conditions.of(MODALITIES[:count], [{"age": "60"}] * count, None)


@pytest.mark.parametrize("name", LEVERS)
def test_each_lever_keeps_to_its_limit_and_leaves_the_models_alone(models, name):
    settings = LEVERS[name]
    before = [copy.deepcopy(model.state_dict()) for model in models]
    fast = guarded(*models, SPACE, settings, "g")
    z = torch.randn(1, *SPACE.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        embedding = models[0].condition(torch.full((1,), 0.3), conditions())
        pairs = [
            (models[0].answer(z, embedding), fast.answer(z, embedding)),
            (models[1].decode(z), fast.decode(z)),
        ]
    for right, other in pairs:
        error = float((other - right).norm() / right.norm())
        assert error <= LIMITS[settings.arithmetic] and other.dtype == torch.float32
        assert (error > 1e-4) == (settings.arithmetic == "bf16")  # it does round
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_without_levers_it_is_the_models_themselves(models):
    plain = guarded(*models, SPACE, InferenceSettings(), "g")
    z = torch.randn(1, *SPACE.shape)
    assert torch.equal(plain.decode(z), models[1].decode(z))
    assert InferenceSettings().levers("cpu") == []
    assert InferenceSettings().levers("cuda") == ["arithmetic: tf32"]
    assert InferenceSettings(graphs=True).levers("cpu") == []


def test_the_compiler_sees_each_network_as_one_graph(models):
    """So that it, or a CUDA graph, has no gap; to make kernels of it takes minutes on a CPU."""
    z = torch.randn(1, *SPACE.shape)
    with torch.no_grad():
        embedding = models[0].condition(torch.full((1,), 0.3), conditions())
        for function, given in ((models[0].answer, (z, embedding)), (models[1].decode, (z,))):
            traced = torch.compile(function, backend="eager", fullgraph=True, dynamic=False)
            torch.testing.assert_close(traced(*given), function(*given))


def test_what_is_not_finite_is_infinitely_wrong():
    one = torch.ones(3)
    assert guard._error([one], [one * float("nan")]) == float("inf")
    assert guard._error([one, 0 * one], [one, 0 * one]) == 0
    assert guard._error([one, 2 * one], [1.1 * one, 2 * one]) == pytest.approx(0.1)


def test_a_wrong_kernel_is_refused_by_the_levers_name(models, monkeypatch):
    """As if convolutions of the other layout were broken on this machine."""

    def broken(denoiser, compressor, settings):
        made = engine(denoiser, compressor, settings)
        if not settings.channels_last:
            return made
        return type(made)(made.answer, lambda z: 1.5 * made.decode(z))

    monkeypatch.setattr(guard, "engine", broken)
    settings = LEVERS["both"]
    with pytest.raises(UserError, match="g: inference with channels_last gives other answers"):
        guarded(*models, SPACE, settings, "g")
    guarded(*models, SPACE, LEVERS["bf16"], "g")


def test_rounding_is_put_back():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with pytest.raises(ZeroDivisionError), rounding(not before[0]):
        assert torch.backends.cuda.matmul.allow_tf32 is not before[0]
        raise ZeroDivisionError
    assert before == (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)


def test_embedding_all_times_at_once_changes_nothing(models):
    """The network asked as in training, with time and conditions, is the oracle."""
    denoiser, given = models[0], conditions(2)
    times = torch.linspace(1, 0, 5, dtype=torch.float64)
    process = type("P", (), {"implementation": "wfdm.processes.rflow", "linear_answer": False})()
    plain = exact(*models)
    z = torch.randn(2, *SPACE.shape)
    for guidance in (1.0, 2.5):
        path = ConditionalPath(denoiser.condition, plain.answer, process, given, times, guidance)
        for t in times.tolist():
            with torch.no_grad():
                at = torch.full((2,), t)
                told = denoiser(z, at, given)
                untold = denoiser(z, at, given.without_metadata())
                wanted = untold + guidance * (told - untold)
                torch.testing.assert_close(path.predicted(z, t), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(1, 3, 4, 5, 6), (1, 3, 20, 24, 19), (3, 3, 1, 2, 7), (3, 3, 1, 20, 31)]
)
def test_a_doubled_volume_is_convolved_before_it_is_doubled(shape):
    """Against the two steps as torch takes them, and their gradients; few voxels, or more."""
    torch.manual_seed(2)
    late = DoubledConvolution(3, 4, kernel_size=3, padding=1).double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    doubled = torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
    wanted = torch.nn.functional.conv3d(doubled, late.weight, late.bias, padding=1)
    weighed = torch.randn_like(wanted)
    given = (x, late.weight, late.bias)
    torch.testing.assert_close(late(x), wanted)
    found = torch.autograd.grad((late(x) * weighed).sum(), given)
    torch.testing.assert_close(found, torch.autograd.grad((wanted * weighed).sum(), given))


@pytest.mark.parametrize("channels, sides", [(3, (8, 9, 10)), (64, (3, 4, 3)), (16, (20, 24, 16))])
def test_a_small_item_alone_is_convolved_as_in_a_batch(channels, sides):
    """To the last bit, where torch takes two kernels; gradients are those of float64."""
    torch.manual_seed(3)
    conv = Convolution(channels, 8, 3, stride=2, padding=1)
    x = torch.randn(2, channels, *sides)
    with torch.no_grad():
        assert torch.equal(conv(x[:1]), conv(x)[:1])
    one = x[:1].clone().requires_grad_()
    weighed = torch.randn_like(conv(one))
    found = torch.autograd.grad((conv(one) * weighed).sum(), (one, conv.weight, conv.bias))
    exactly = [each.detach().double().requires_grad_() for each in (one, conv.weight, conv.bias)]
    wanted = torch.nn.functional.conv3d(*exactly, stride=2, padding=1)
    for ours, theirs in zip(
        found, torch.autograd.grad((wanted * weighed).sum(), exactly), strict=True
    ):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)


def test_a_small_item_is_dilated_and_grouped_as_torch_does():
    torch.manual_seed(4)
    how = {"padding": 2, "dilation": 2, "groups": 3}
    conv = Convolution(6, 9, 3, **how)
    x = torch.randn(1, 6, 7, 8, 9)
    wanted = torch.nn.functional.conv3d(x.double(), conv.weight.double(), conv.bias.double(), **how)
    torch.testing.assert_close(conv(x).double(), wanted, rtol=1e-5, atol=1e-5)


def test_the_quick_convolution_is_the_plain_one_and_draws_nothing():
    torch.manual_seed(1)
    plain = nn.Sequential(
        nn.Conv3d(3, 5, 3, stride=2, padding=1), nn.Sequential(nn.Conv3d(5, 2, 1))
    )
    x, state = torch.randn(1, 3, 8, 9, 10), torch.get_rng_state()
    with torch.no_grad():
        wanted = plain(x)
        weights = {name: value.clone() for name, value in plain.state_dict().items()}
        quicken(plain)
        assert torch.equal(torch.get_rng_state(), state)
        assert all(type(plain.get_submodule(name)) is Convolution for name in ("0", "1.0"))
        torch.testing.assert_close(plain(x), wanted, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(value, weights[name]) for name, value in plain.state_dict().items())
