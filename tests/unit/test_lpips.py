"""LPIPS without torchvision: layers, arithmetic and files."""

from pathlib import Path

import pytest
import torch
from torch import nn

from wfdm.config.features import LpipsSettings
from wfdm.data.assets import find, retrieve
from wfdm.errors import UserError
from wfdm.models.features import lpips
from wfdm.models.weights import read_state

# Numbers of trainable values in torchvision's `alexnet().features` and `vgg16().features`.
COUNTS = {"alex": 2_469_696, "vgg": 14_714_688}


@pytest.fixture(scope="module")
def heads() -> dict[str, Path]:
    """The published linear heads of both backbones, retrieved once into the checkout's assets."""
    found = {}
    for name in COUNTS:
        asset = find(f"lpips-{name}-heads")
        found[name] = Path(__file__).parents[2] / "resources" / "assets" / asset.file
        try:
            retrieve(f"lpips-{name}-heads", found[name])
        except UserError as error:
            pytest.skip(str(error))
    return found


def stand_in(name: str, folder) -> tuple[LpipsSettings, nn.Sequential]:
    """Write random weights as torchvision's file has them, classifier and all."""
    torch.manual_seed(0)
    features = lpips.Lpips(name).features
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    torch.save(state | {"classifier.1.weight": torch.zeros(2)}, folder / f"{name}-backbone.pth")
    return LpipsSettings(backbone=name), features


@pytest.mark.parametrize("name", COUNTS)
def test_backbones_have_torchvisions_size(name):
    features = lpips.Lpips(name).features
    assert sum(p.numel() for p in features.parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_the_distance_is_the_papers_sum_over_layers(name, heads, tmp_path):
    settings, features = stand_in(name, tmp_path)
    module = lpips.load(settings, tmp_path / f"{name}-backbone.pth", heads[name])
    a, b = torch.rand(2, 1, 40, 48), torch.rand(2, 1, 40, 48)
    learned = read_state(heads[name])
    # Equation 1 of Zhang et al., pixel by pixel of each layer's features.
    wanted = torch.zeros(2)
    x, y = (2 * t.expand(-1, 3, -1, -1) - 1 for t in (a, b))
    shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in (lpips.SHIFT, lpips.SCALE))
    x, y, layer = (x - shift) / scale, (y - shift) / scale, 0
    with torch.no_grad():
        for index, module_ in enumerate(features):
            x, y = module_(x), module_(y)
            if index in lpips.TAPS[name]:
                unit_x, unit_y = (nn.functional.normalize(t, dim=1) for t in (x, y))
                weighted = learned[f"lin{layer}.model.1.weight"] * (unit_x - unit_y) ** 2
                wanted += weighted.sum(1).mean((1, 2))
                layer += 1
        torch.testing.assert_close(module.slices(a, b), wanted, rtol=1e-4, atol=1e-6)
    assert layer == 5


def test_volumes_are_compared_along_every_axis(heads, tmp_path):
    settings, _ = stand_in("alex", tmp_path)
    files = (tmp_path / "alex-backbone.pth", heads["alex"])
    module = lpips.load(settings, *files)
    real, other = torch.rand(1, 1, 32, 40, 36), torch.rand(1, 1, 32, 40, 36)
    cuts = ("bcdhw->dchw", "bcdhw->hcdw", "bcdhw->wcdh")
    with torch.no_grad():
        whole = module(real, other)
        parts = [
            module.slices(*(torch.einsum(cut, v) for v in (real, other))).mean() for cut in cuts
        ]
        torch.testing.assert_close(whole, sum(parts))
        assert module(real, real) == 0
        assert module(real, other) == whole  # no slice is drawn by chance
    half = lpips.load(settings.model_copy(update={"every": 2}), *files)
    changed = other.clone()
    changed[:, :, 1::2, 1::2, 1::2] = 0  # odd along every axis: in no slice that counts
    with torch.no_grad():
        assert half(real, changed) == half(real, other)
        assert module(real, changed) != whole


@pytest.mark.parametrize("name", COUNTS)
def test_what_is_too_small_is_told(name):
    side = lpips.SMALLEST[name]
    module = lpips.Lpips(name)
    with torch.no_grad():
        assert torch.isfinite(module.slices(*torch.rand(2, 1, 1, side, side))).all()
        with pytest.raises(RuntimeError, match="too small"):  # so the limit is the true one
            module.slices(*torch.rand(2, 1, 1, side - 1, side - 1))
        with pytest.raises(UserError, match=f"sides of {side} at least"):
            module(*torch.rand(2, 1, 1, side, side, side - 1))


def test_other_files_are_refused(heads, tmp_path):
    settings, _ = stand_in("alex", tmp_path)
    with pytest.raises(UserError, match="do not hold LPIPS with backbone 'alex'"):
        lpips.load(settings, tmp_path / "alex-backbone.pth", heads["vgg"])
