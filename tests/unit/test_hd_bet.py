"""Classic HD-BET's network and inference, against the same network built of torch's modules."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from wfdm.config.preprocess import HdBetSettings
from wfdm.data.grid import sri24_grid
from wfdm.preprocess.extraction import hd_bet

BASE = 2  # channels of the first level; the real networks have 21


class Reference(nn.Module):
    """The residual U-Net of Isensee et al. with instance normalisation, module by module."""

    def __init__(self) -> None:
        super().__init__()
        width = [BASE * 2**level for level in range(5)]
        self.init_conv = nn.Conv3d(1, BASE, 3, padding=1)
        for level, n in enumerate(width, 1):
            self.add_module(f"context{level}", self._context(n))
        for level, (n, m) in enumerate(itertools.pairwise(width), 1):
            down = nn.Module()
            down.bn = self._norm(n)
            down.downsample = nn.Conv3d(n, m, 3, 2, 1)
            self.add_module(f"down{level}", down)
        self.bn_after_context5 = self._norm(width[4])
        for level, (m, n) in enumerate(itertools.pairwise(width[::-1]), 1):
            up = nn.Module()
            up.upsample_conv, up.bn = nn.Conv3d(m, n, 3, padding=1), self._norm(n)
            self.add_module(f"up{level}", up)
            if level < 4:
                loc = nn.Module()
                loc.conv1, loc.bn_1 = nn.Conv3d(m, m, 3, padding=1), self._norm(m)
                loc.conv2, loc.bn_2 = nn.Conv3d(m, n, 1), self._norm(n)
                self.add_module(f"loc{level}", loc)
        self.end_conv_1 = nn.Conv3d(2 * BASE, 2 * BASE, 3, padding=1)
        self.end_conv_2 = nn.Conv3d(2 * BASE, 2 * BASE, 3, padding=1)
        self.end_conv_1_bn, self.end_conv_2_bn = self._norm(2 * BASE), self._norm(2 * BASE)
        self.seg_layer = nn.Conv3d(2 * BASE, 2, 1, bias=False)
        self.act, self.outer = nn.LeakyReLU(0.01), nn.LeakyReLU(0.1)

    @staticmethod
    def _norm(n: int) -> nn.Module:
        return nn.InstanceNorm3d(n, affine=True)

    def _context(self, n: int) -> nn.Module:
        block = nn.Module()
        block.bn_1, block.bn_2 = self._norm(n), self._norm(n)
        block.conv1, block.conv2 = (nn.Conv3d(n, n, 3, padding=1) for _ in range(2))
        return block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, skipped = self.init_conv(x), []
        for level in range(1, 6):
            c = getattr(self, f"context{level}")
            x = x + c.conv2(self.act(c.bn_2(c.conv1(self.act(c.bn_1(x))))))
            if level < 5:
                down = getattr(self, f"down{level}")
                skipped.append(self.act(down.bn(x)))
                x = down.downsample(skipped[-1])
        x = self.outer(self.bn_after_context5(x))
        upsample = nn.Upsample(scale_factor=2, mode="trilinear", align_corners=True)
        for level in range(1, 5):
            up = getattr(self, f"up{level}")
            x = self.act(up.bn(up.upsample_conv(upsample(x))))
            x = torch.cat([skipped.pop(), x], 1)
            if level < 4:
                loc = getattr(self, f"loc{level}")
                x = self.act(loc.bn_2(loc.conv2(self.act(loc.bn_1(loc.conv1(x))))))
        x = self.outer(self.end_conv_1_bn(self.end_conv_1(x)))
        x = self.outer(self.end_conv_2_bn(self.end_conv_2(x)))
        return torch.softmax(self.seg_layer(x), 1)[:, 1:]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Two random networks with trained-looking scales, and their files."""
    folder, made = tmp_path_factory.mktemp("weights"), []
    for fold in range(2):
        torch.manual_seed(fold)
        network = Reference().eval()
        for name, value in network.named_parameters():
            if ".bn" in name or "_bn" in name or name.startswith("bn"):
                nn.init.normal_(value, 1.0 if name.endswith("weight") else 0.0, 0.3)
        path = folder / f"{fold}.model"
        torch.save(network.state_dict(), path)
        made.append((network, path))
    return made


def test_the_network_is_the_published_one(networks):
    network, path = networks[0]
    image = torch.randn(1, 1, 32, 48, 32)
    with torch.inference_mode():
        expected = network(image)
        found = hd_bet._forward(hd_bet.load(path, torch.float32), image)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert found.std() > 0.01


def test_channels_that_weight_decay_emptied_are_left_out(networks, tmp_path):
    network = copy.deepcopy(networks[0][0])
    state, sizes = network.state_dict(), {}
    for producer, _, reader in hd_bet._readers():
        sizes[producer] = len(state[f"{producer}.bias"])
        state[f"{reader}.weight"][:, -1] = 1e-39  # what is produced comes last
    torch.save(state, tmp_path / "0.model")
    weights = hd_bet.load(tmp_path / "0.model", torch.float32)
    assert {name: len(weights[f"{name}.weight"]) for name in sizes} == {
        name: size - 1 for name, size in sizes.items()
    }
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.inference_mode():
        expected = network(image)
        found = hd_bet._forward(weights, image)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert found.std() > 0.01


def test_fields_of_the_real_weights_are_known(networks):
    """The real files have buffers of running statistics, which the published tool ignores."""
    network, path = networks[0]
    state = torch.load(path) | {"context1.bn_1.running_mean": torch.ones(BASE)}
    torch.save(state, path.with_name("with_buffers.model"))
    kept = hd_bet.load(path.with_name("with_buffers.model"), torch.float32)
    assert set(kept) == set(network.state_dict())


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    grid = sri24_grid(1.0)
    x, y, z = np.indices(grid.shape, sparse=True)
    ball = np.exp(-(((x - 120) / 70) ** 2 + ((y - 110) / 80) ** 2 + ((z - 70) / 65) ** 2))
    return (1000 * ball + 20 * np.sin(x / 5.0) * np.cos(z / 7.0)).astype(np.float32)


def test_mean_over_folds_and_mirror_images_with_any_number_of_threads(networks):
    volume = np.random.default_rng(3).normal(size=(32, 48, 32)).astype(np.float32)
    paths = [path for _, path in networks]
    settings = HdBetSettings(folds=[0, 1])
    found = [hd_bet._on_cpu(volume, paths, settings, threads) for threads in (1, 2, 3)]
    image = torch.from_numpy(volume)[None, None]
    flips = [axes for n in range(4) for axes in itertools.combinations((2, 3, 4), n)]
    with torch.inference_mode():
        every = [network(image.flip(f)).flip(f) for network, _ in networks for f in flips]
    np.testing.assert_allclose(found[0], torch.stack(every).mean(0)[0, 0], atol=1e-5)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_from_head_to_mask(networks, head):
    """By hand: z-score at 1.5 mm in S, A, R order, the box, more than one half, back to 1 mm."""
    network, path = networks[1]
    settings = HdBetSettings(folds=[1], field="brain", mirror=False)
    found = hd_bet.brain_mask(head, [path], settings, 1)
    volume = hd_bet._standardised(head)
    assert volume.shape == (103, 160, 160)
    np.testing.assert_allclose([volume.mean(), volume.std()], [0, 1], atol=1e-3)
    box = (slice(0, 96), slice(10, 138), slice(24, 136))
    coarse = np.zeros(volume.shape, bool)
    with torch.inference_mode():
        coarse[box] = network(torch.from_numpy(volume[box])[None, None])[0, 0].numpy() > 0.5
    nearest = coarse
    for axis, size in enumerate(head.T.shape):
        nearest = nearest.take(np.arange(size) * coarse.shape[axis] // size, axis)
    assert found.shape == head.shape
    assert 0.02 < found.mean() < 0.98
    assert (found == nearest.T).mean() > 0.9  # linear majority, not nearest: the surface differs


def test_islands_go_when_asked():
    mask = np.zeros((20, 20, 20), bool)
    mask[2:12, 2:12, 2:12] = mask[15:18, 15:18, 15:18] = True
    assert hd_bet._largest(mask).sum() == 1000


def test_sides_are_padded_at_their_ends():
    padded = hd_bet._padded(np.ones((103, 160, 130), np.float32), 128)
    assert padded.shape == (128, 160, 144)
    assert (padded[103:] == 0).all() and (padded[:103, :, :130] == 1).all()
