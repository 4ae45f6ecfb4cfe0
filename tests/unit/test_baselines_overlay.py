"""The overlay that trains the published systems: what it adds, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from wfdm.baselines import med_ddpm_networks as med
from wfdm.baselines import wdm_networks as wdm
from wfdm.config.denoisers import UNetSettings
from wfdm.config.networks import WdmNetwork
from wfdm.config.study import Study, merged
from wfdm.errors import UserError
from wfdm.stages import plan

CONFIG = Path(__file__).parents[2] / "config"


def study(*overlays: str, **more: Any) -> Study:
    """The paper's study under overlays of config/, as Snakemake merges them."""
    whole: dict[str, Any] = yaml.safe_load((CONFIG / "config.yaml").read_text())
    for content in [*(yaml.safe_load((CONFIG / each).read_text()) for each in overlays), more]:
        whole = merged(whole, content)
    return plan.checked(Study.model_validate(whole))


def test_by_default_none_is_trained_and_the_overlay_trains_all_as_published() -> None:
    assert not [name for name in study().denoisers if name.endswith("-here")]
    over = study("baselines.yaml")
    assert over.denoisers["wdm-here"].network == WdmNetwork(kind="wdm")
    assert over.denoisers["med-ddpm-here"].process.timesteps == med.STEPS
    assert over.denoisers["wdm-here"].process.timesteps == wdm.STEPS
    assert over.generators["wdm-here"].clamp and over.generators["med-ddpm-here"].clamp


def test_the_benchmark_trains_all_for_equal_steps() -> None:
    made = study("demo.yaml", "baselines.yaml", "benchmark.yaml").denoisers
    assert set(made) == {"wfdm", "ldm-here", "wdm-here", "med-ddpm-here"}
    for key in ("steps", "batch_size", "warmup_steps", "decay_power", "ema_decay", "balance"):
        assert len({getattr(row.training, key) for row in made.values()}) == 1, key


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"generators": {"wfdm": {"clamp": True}}}, "clamp: euler follows a velocity"),
        ({"generators": {"ldm-here": {"clamp": True}}}, "only of one without weights"),
        ({"figures": {"generator": "wdm-here"}}, "figure 1 shows a U-Net of kind unet"),
        ({"denoisers": {"wdm-here": {"network": {"norm_groups": 48}}}}, "48 does not divide 64"),
        ({"denoisers": {"wdm-here": {"network": {"metadata": ["aeg"]}}}}, "metadata field 'aeg'"),
        ({"compressors": {"voxels": {"training": {}}}}, "kind 'voxels' has no weights"),
    ],
)
def test_what_cannot_work_is_said(more: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, UserError), match=said):
        study("baselines.yaml", **more)


def test_a_network_of_no_kind_is_the_studys_own() -> None:
    row = {"compressor": "wf-vae", "network": {"channels": [32, 64], "attention": [False, True]}}
    network = study(denoisers={"own": row}).denoisers["own"].network
    assert isinstance(network, UNetSettings) and network.channels == (32, 64)
