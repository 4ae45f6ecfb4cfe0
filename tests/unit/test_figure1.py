"""Figure 1 follows what the model makes."""

import json
from dataclasses import replace

import pytest
import torch

from tests.unit.test_figures import bytes_of
from wfdm.config.compressors import HaarTransform, WaveletFusion
from wfdm.config.denoisers import UNetSettings
from wfdm.config.study import Study
from wfdm.data.metadata import load_schema
from wfdm.errors import UserError
from wfdm.figures import architecture
from wfdm.figures.architecture import System
from wfdm.models.compressors import registry
from wfdm.models.denoisers.unet import Denoiser
from wfdm.stages import figure1 as figure1_stage


@pytest.fixture(scope="module")
def small() -> System:
    return System(
        compressor="WF-SA-VAE",
        architecture=WaveletFusion(
            kind="wavelet-fusion",
            channels=(16, 32),
            wavelet_channels=8,
            attention=True,
            norm_groups=8,
        ),
        generator="WFDM",
        network=UNetSettings(
            channels=(16, 32), attention=(False, True), head_channels=8, norm_groups=8
        ),
        steps=5,
        shape=(32, 48, 32),
    )


def test_figure_1_shows_the_shapes_that_the_model_makes(small):
    with torch.device("meta"):
        module = registry.build(small.architecture)
        boxes, arrows = architecture.compression(module, small.shape)
        denoiser = Denoiser(small.network, (4, 8, 12, 8), load_schema())
        lower, _ = architecture.diffusion(denoiser, small, (4, 8, 12, 8))
    half, quarter = (16, 24, 16), (8, 12, 8)
    assert boxes["c1"].shape == (8, *half) and boxes["c2"].shape == (32, *quarter)
    assert boxes["w1"].shape == (8, *half) and boxes["w2"].shape == (8, *quarter)
    assert boxes["cat"].shape == (8 + 16, *quarter)  # w2 beside the halved features
    assert boxes["z"].shape == (4, *quarter)
    assert "self-attention" in boxes["e2"].title and "attention" not in boxes["e1"].title
    assert boxes["out"].shape == boxes["v"].shape == (1, 32, 48, 32)
    assert {end for pair in arrows for end in pair} == set(boxes)
    assert lower["down 1"].shape == lower["up 1"].shape == (16, *quarter)
    assert lower["down 2"].shape == lower["up 2"].shape == (32, 4, 6, 4)
    assert lower["meta"].shape == (8 * 16,)  # time and modality, beside the metadata
    assert "5 steps" in lower["z"].title and "25 fields" in lower["meta"].title


def test_figure_1_follows_the_settings(small, tmp_path):
    plain = small.architecture.model_copy(update={"attention": False})
    other = replace(small, architecture=plain)
    made = [
        bytes_of(architecture.figure1(system, tmp_path / "1", 60))
        for system in (small, small, other, replace(small, generator="Another"))
    ]
    assert made[0] == made[1]
    assert made[0] != made[2] and made[0] != made[3]


def test_figure_1_refuses_what_it_cannot_draw(small, tmp_path):
    haar = replace(small, architecture=HaarTransform(kind="haar", levels=2))
    with pytest.raises(UserError, match="figure 1 shows wavelet fusion"):
        architecture.figure1(haar, tmp_path / "1", 60)
    odd = replace(small, shape=(32, 36, 32))  # a latent side of 9 cannot be halved
    with pytest.raises(UserError, match=r"2 levels .* divide by 2, but the latent is \(8, 9, 8\)"):
        architecture.figure1(odd, tmp_path / "1", 60)
    assert not list(tmp_path.iterdir())


def test_the_stage_of_figure_1_draws_the_studys_generator(small, tmp_path):
    study = Study()
    names = {"generator": "wfdm", "denoiser": "wfdm", "compressor": "wf-sa-vae"}
    settings = figure1_stage.Settings.of(study, **names)
    assert settings.architecture == study.compressors["wf-sa-vae"].architecture
    assert (settings.network, settings.steps) == (study.denoisers["wfdm"].network, 50)
    smaller = {"shape": small.shape, "network": small.network, "dpi": 60}
    drawn = figure1_stage.Settings.parse(settings.model_copy(update=smaller).model_dump_json())
    out = tmp_path / "figure1.pdf"
    figure1_stage.run(drawn, "WF-SA-VAE", "WFDM", out)
    system = replace(small, architecture=settings.architecture, steps=50)
    direct = architecture.figure1(system, tmp_path / "direct", 60)
    assert bytes_of(direct) == bytes_of([out, out.with_suffix(".png")])
    record = json.loads((tmp_path / "figure1.pdf.prov.json").read_text())
    assert set(record["outputs"]) == {str(out), str(out.with_suffix(".png"))}
