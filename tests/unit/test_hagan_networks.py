"""HA-GAN's networks, and the cube, slab and small volume that they see."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.unit.hagan_study import SMALL, parameters
from wfdm.baselines.hagan_discriminators import Discriminator
from wfdm.baselines.hagan_folder import Networks, in_cube, out_of_cube, slab_of, small_of
from wfdm.baselines.hagan_networks import Encoder, Generator, SubEncoder
from wfdm.config.gans import HaganNetwork
from wfdm.data.table import MODALITIES
from wfdm.seeds import torch_generator

# --- networks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "sub_encoder", "discriminator"),
    [(128, 19_663_168, 7_241_442), (256, 19_663_264, 7_402_258)],
)
def test_at_the_published_size_they_have_the_published_parameters(
    side: int, sub_encoder: int, discriminator: int
) -> None:
    with torch.device("meta"):
        assert parameters(Generator(side)) == 52_518_210
        assert parameters(Encoder()) == 161_152
        assert parameters(SubEncoder(side)) == sub_encoder
        assert parameters(Discriminator(side)) == discriminator
        made = Networks(HaganNetwork(side=side))
        told = Discriminator(side, classes=len(MODALITIES))
    # A modality is four more numbers beside the noise; and a projection of it for both logits.
    assert parameters(made) == 52_518_210 + 4 * 32_768 + 161_152 + sub_encoder
    assert parameters(told) == discriminator + 4 * (64 + 256)


def spectral_norms(network: nn.Module) -> list[float]:
    weights = [part.weight for part in network.modules() if hasattr(part, "parametrizations")]
    return [float(torch.linalg.matrix_norm(weight.flatten(1), 2)) for weight in weights]


def test_every_layer_of_the_discriminators_has_norm_one() -> None:
    torch.manual_seed(0)
    network = Discriminator(128, 32, classes=4)
    for part in network.modules():
        if hasattr(part, "parametrizations"):
            for _ in range(30):  # the power iteration makes a step each time
                _ = part.weight
    with torch.no_grad():
        found = spectral_norms(network.eval())
    assert len(found) == 6 + 2 + 1 + 3 + 1 + 1
    np.testing.assert_allclose(found, 1, atol=0.03)


def test_the_logit_hears_slab_small_place_and_class() -> None:
    torch.manual_seed(0)
    network = Discriminator(128, 32, classes=4).eval()
    slab, small = torch.randn(1, 1, 16, 128, 128), torch.randn(1, 1, 32, 32, 32)
    told = torch.eye(4)
    with torch.no_grad():
        one = network(slab, small, 0.25, told[:1])
        others = [
            network(-slab, small, 0.25, told[:1]),
            network(slab, -small, 0.25, told[:1]),
            network(slab, small, 0.5, told[:1]),
            network(slab, small, 0.25, told[1:2]),
        ]
    assert one.shape == (1,)
    assert all(abs(float(other - one)) > 1e-6 for other in others)


def test_a_class_adds_the_product_with_its_own_vector() -> None:
    """Of two classes only the projection differs: linear in the features, per class."""
    torch.manual_seed(0)
    network = Discriminator(128, 32, classes=4).eval()
    given = torch.randn(1, 1, 16, 128, 128), torch.randn(1, 1, 32, 32, 32), 0.5
    with torch.no_grad():
        each = torch.stack([network(*given, torch.eye(4)[k : k + 1]) for k in range(4)])[:, 0]
        none = network(*given, torch.zeros(1, 4))
        both = network(*given, torch.tensor([[1.0, 0, 1, 0]]))
    torch.testing.assert_close(both[0], none[0] + (each[0] - none[0]) + (each[2] - none[0]))


# --- the cube, the slab, the small volume ----------------------------------------------------


@given(st.tuples(*[st.integers(1, 9)] * 3))
def test_a_volume_comes_out_of_its_cube_as_it_went_in(shape: tuple[int, int, int]) -> None:
    volume = torch.rand((2, 1, *shape), generator=torch_generator(1))
    cube = in_cube(volume, 9)
    assert cube.shape == (2, 1, 9, 9, 9)
    torch.testing.assert_close(out_of_cube(cube, shape), volume, rtol=0, atol=1e-6)
    assert int((cube == -1).sum()) >= 2 * (9**3 - volume[0].numel())
    corner = [(9 - size) // 2 for size in shape]
    torch.testing.assert_close(cube[0, 0, *corner], 2 * volume[0, 0, 0, 0, 0] - 1)


def test_slab_and_small_volume_are_of_the_same_voxels() -> None:
    cube = torch.arange(128.0)[:, None, None].expand(1, 1, 128, 128, 128)
    assert slab_of(cube, 40)[0, 0, :, 0, 0].tolist() == list(range(40, 56))
    assert small_of(cube)[0, 0, :, 5, 7].tolist() == [4 * k + 1.5 for k in range(32)]
    assert slab_of(cube, 112).shape[2] == 16  # the last


def test_the_slab_that_is_made_lies_where_the_real_one_does() -> None:
    """Without normalisation, away from its border, it is the same slices of the whole."""
    torch.manual_seed(0)
    network = Generator(128, 4, 2).eval()
    for number in range(1, 7):
        setattr(network, f"bn{number}", nn.Identity())
    z = torch.randn(1, 4)
    with torch.no_grad():
        slab, _ = network.slab(z, 40)
        whole = network(z)
    inner = [each[:, :, 4:-4] for each in (slab, slab_of(whole, 40), slab_of(whole, 44))]
    torch.testing.assert_close(inner[0], inner[1], rtol=1e-3, atol=1e-4)
    assert float((inner[0] - inner[2]).abs().max()) > 1e-3


def test_the_codes_encoder_keeps_no_full_size_gradient() -> None:
    networks = Networks(SMALL)
    networks.code(torch.rand(1, 1, 128, 128, 128)).sum().backward()
    assert all(weight.grad is None for weight in networks.encoder.parameters())
    assert all(weight.grad is not None for weight in networks.sub_encoder.parameters())
