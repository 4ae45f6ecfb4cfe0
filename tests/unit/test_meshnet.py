"""MeshNet against convolutions by SciPy, its files, and the volumes it counts."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from wfdm.errors import UserError
from wfdm.evaluation.anatomy import CLASSES, MARGIN_MM, Segmented, conform, thresholds
from wfdm.models.features.meshnet import load

ASSETS = Path(__file__).parents[3] / "shared" / "assets" / "meshnet"
PUBLISHED = ASSETS / "model18cls.json", ASSETS / "model18cls.bin"
placed = pytest.mark.skipif(not PUBLISHED[1].is_file(), reason="MeshNet's files are not placed")


def conv(name: str, filters: int, size: int, dilation: int) -> dict:
    config = {"name": name, "filters": filters, "padding": "same"}
    config |= {"kernel_size": [size] * 3, "dilation_rate": [dilation] * 3}
    return {"class_name": "Conv3D", "config": config}


def small(folder: Path, seed: int = 0) -> tuple[Path, Path, list[np.ndarray]]:
    """Two dilated convolutions and a pointwise one, in the files of TensorFlow.js."""
    elu = {"class_name": "Activation", "config": {"activation": "elu"}}
    layers = [{"class_name": "InputLayer", "config": {}}, conv("a", 3, 3, 1), elu]
    layers += [conv("b", 4, 3, 2), elu, conv("c", 18, 1, 1)]
    shapes = {"a": (3, 3, 3, 1, 3), "b": (3, 3, 3, 3, 4), "c": (1, 1, 1, 4, 18)}
    rng, arrays, listed = np.random.default_rng(seed), [], []
    for name, shape in shapes.items():
        for part, size in (("kernel", shape), ("bias", shape[-1:])):
            arrays.append(rng.normal(0, 0.4, size).astype("<f4"))
            listed.append({"name": f"{name}/{part}", "shape": list(size), "dtype": "float32"})
    model = {"modelTopology": {"model_config": {"config": {"layers": layers}}}}
    topology, weights = folder / "model.json", folder / "model.bin"
    topology.write_text(json.dumps(model | {"weightsManifest": [{"weights": listed}]}))
    weights.write_bytes(b"".join(array.tobytes() for array in arrays))
    return topology, weights, arrays


def by_scipy(volume: np.ndarray, arrays: list[np.ndarray]) -> np.ndarray:
    """The small network by `scipy.ndimage.correlate`, on a volume wide enough to hide its edge."""
    h = volume[..., None].astype(float)
    for place, dilation in ((0, 1), (2, 2), (4, 1)):
        kernel, bias = arrays[place].astype(float), arrays[place + 1]
        reach = dilation * (kernel.shape[0] - 1) + 1
        out = np.zeros((*h.shape[:3], kernel.shape[4]))
        for into in range(kernel.shape[3]):
            for of in range(kernel.shape[4]):
                spread = np.zeros((reach,) * 3)
                spread[::dilation, ::dilation, ::dilation] = kernel[..., into, of]
                out[..., of] += ndimage.correlate(h[..., into], spread, mode="nearest")
        h = out + bias
        if place < 4:
            h = np.where(h > 0, h, np.expm1(h))
    return h


def test_it_is_the_convolutions_of_its_files_and_a_crop_changes_nothing_inside(tmp_path):
    """Background goes on without end: a crop with the network's reach around it is the whole."""
    topology, weights, arrays = small(tmp_path)
    network = load(topology, weights)
    assert network.reach == 3
    volume = np.zeros((16, 15, 14), np.float32)
    volume[5:10, 6:9, 5:9] = np.random.default_rng(1).random((5, 3, 4))
    wanted = by_scipy(volume, arrays)
    found = network(torch.from_numpy(volume)[None, None])[0].permute(1, 2, 3, 0).numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    crop = np.s_[2:13, 3:12, 2:12]
    found = network(torch.from_numpy(volume[crop].copy())[None, None])[0].permute(1, 2, 3, 0)
    np.testing.assert_allclose(found.numpy(), wanted[crop], atol=2e-5)


def test_files_that_do_not_belong_together_are_one_line(tmp_path):
    topology, weights, _ = small(tmp_path)
    cut = tmp_path / "cut.bin"
    cut.write_bytes(weights.read_bytes()[:-4])
    other = tmp_path / "other.json"
    other.write_text(topology.read_text().replace('"elu"', '"gelu"'))
    for pair in ((topology, cut), (weights, topology), (other, weights), (tmp_path, weights)):
        with pytest.raises(UserError, match="are not the two files of a MeshNet") as told:
            load(*pair)
        assert "\n" not in str(told.value)


@placed
def test_the_published_one_has_its_parameters_and_finds_what_a_scan_has():
    network = load(*PUBLISHED)
    assert sum(each.numel() for each in network.parameters()) == 96_408
    assert [layer.dilation for layer in network.layers] == [1, 2, 4, 8, 16, 8, 4, 2, 1, 1]
    assert network.reach == 46
    topology = json.loads(PUBLISHED[0].read_text())["modelTopology"]
    assert not re.search("BatchNorm", json.dumps(topology))


def test_a_brain_is_conformed_without_losing_volume():
    """A box of 2 mm voxels keeps its mL; its axes run to the left, down and to the front."""
    volume = np.zeros((40, 44, 36))
    volume[10:30, 12:32, 8:24] = 0.5
    volume[29, 12, 23] = 1.0  # right, posterior, superior
    fine = conform(volume, 2.0)
    assert fine.shape == tuple(2 * side + 2 * MARGIN_MM for side in (20, 16, 20))
    assert fine.max() <= 1 and (fine > 0.25).sum() == pytest.approx(20 * 20 * 16 * 8, rel=0.01)
    where = np.argwhere(fine > 0.9) - MARGIN_MM
    assert (where[:, 0] < 2).all() and (where[:, 1] < 2).all() and (where[:, 2] < 2).all()


def test_classes_are_counted_in_millilitres(tmp_path):
    """A network whose answer is known: every voxel is a ventricle's."""
    topology, weights, arrays = small(tmp_path)
    for array in arrays:
        array[...] = 0
    arrays[-1][3] = 1  # lateral ventricle
    weights.write_bytes(b"".join(array.tobytes() for array in arrays))
    volume = np.zeros((20, 20, 20))
    volume[5:15, 5:15, 5:15] = 1
    found = Segmented(load(topology, weights), 2.0)(volume)
    assert found["ventricles"] == found["brain"] == pytest.approx((20 + 2 * MARGIN_MM) ** 3 / 1000)
    assert found.keys() == CLASSES.keys() and found["hippocampi"] == 0


def test_thresholds_find_a_ball_of_fluid_in_a_ball_of_brain():
    """Volumes by 4/3 pi r^3; fluid at the surface is no ventricle."""
    grid = np.stack(np.meshgrid(*(np.arange(80.0),) * 3, indexing="ij")) * 2.0
    away = np.sqrt(((grid - 80) ** 2).sum(axis=0))
    volume = np.where(away < 65, 0.8, 0.0)
    volume[away < 18] = 0.2
    volume[(away > 60) & (away < 65)] = 0.2
    found = thresholds(volume, 2.0)
    ball = lambda radius: 4 / 3 * np.pi * radius**3 / 1000  # noqa: E731
    assert found["ventricles"] == pytest.approx(ball(18), rel=0.04)
    assert found["brain"] == pytest.approx(ball(65), rel=0.01)
    assert found["tissue"] == pytest.approx(ball(60) - ball(18), rel=0.04)
    assert thresholds(np.zeros((8, 8, 8)), 2.0)["brain"] == 0
