"""The denoiser against the authors' parameter counts and against what the paper asks of it."""

from dataclasses import replace

import pytest
import torch
from brainmint.models.generation.diffusion_unet import DiffusionUNet

from wfdm.config.denoisers import UNetSettings
from wfdm.config.files import parse
from wfdm.config.study import Study
from wfdm.data.metadata import encode, load_schema
from wfdm.errors import UserError
from wfdm.models.denoisers.conditions import Conditions
from wfdm.models.denoisers.metadata_encoder import MetadataEncoder
from wfdm.models.denoisers.unet import Denoiser, fold, unfold

SMALL = UNetSettings(
    channels=(8, 16, 16),
    attention=(False, False, True),
    head_channels=8,
    norm_groups=8,
    res_blocks=1,
    metadata_width=8,
)
LATENT = (4, 8, 12, 4)


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def awake(settings: UNetSettings = SMALL) -> Denoiser:
    """A denoiser whose zero-initialised layers are random, so that every input can matter."""
    torch.manual_seed(0)
    denoiser = Denoiser(settings, LATENT, load_schema()).eval()
    for parameter in denoiser.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return denoiser


TIMES = torch.linspace(0.2, 0.8, 2)


def conditions(count: int = 2) -> Conditions:
    """The same metadata for modalities in turn."""
    values, mask = encode({"age": "60", "sex": "female", "tumor": "no"})
    parts = (torch.from_numpy(part).repeat(count, 1) for part in (values, mask))
    return Conditions(torch.arange(count) % 4, *parts)


def test_a_fresh_denoiser_says_nothing() -> None:
    """So a training starts from the best linear answer, which the process adds."""
    denoiser = Denoiser(SMALL, LATENT, load_schema()).eval()
    with torch.no_grad():
        assert not denoiser(torch.randn(2, *LATENT), TIMES, conditions()).any()


def test_a_map_is_added_as_often_as_what_is_recorded_says():
    """A network whose blocks all answer zero is its maps alone: at first sum_f v_f M_mf."""
    settings, schema = SMALL.model_copy(update={"maps": ["sex", "age", "tumor"]}), load_schema()
    denoiser = Denoiser(settings, LATENT, schema).eval()
    z, told = torch.randn(2, *LATENT), conditions()
    places = {"age": 0, "sex other": 1, "sex female": 2, "sex male": 3, "tumor no": 4}
    places |= {"tumor yes": 5}
    age = told.values[0, schema.names.index("age")]
    with torch.no_grad():
        assert not denoiser(z, TIMES, told).any()
        torch.nn.init.normal_(denoiser.maps.maps)
        assert denoiser.maps.maps.shape == (4, len(places), *LATENT)
        for answer, maps in zip(denoiser(z, TIMES, told), denoiser.maps.maps, strict=False):
            wanted = age * maps[places["age"]] + maps[places["sex female"]]
            torch.testing.assert_close(answer, wanted + maps[places["tumor no"]])
        untold = replace(told, mask=torch.zeros_like(told.mask))
        assert not denoiser(z, TIMES, untold).any(), "what is not recorded has no effect"
        torch.nn.init.normal_(denoiser.maps.gain.weight)
        now, later = (denoiser(z, torch.full((2,), t), told) for t in (0.2, 0.8))
        assert not torch.allclose(now, later)


@pytest.mark.parametrize("width", [256, 128])
def test_study_size_is_the_authors(width: int) -> None:
    with torch.device("meta"):
        ours = Denoiser(UNetSettings(metadata_width=width), LATENT, load_schema())
        theirs = DiffusionUNet(
            spatial_dims=3,
            in_channels=4,
            out_channels=4,
            num_channels=(64, 128, 256, 512),
            attention_levels=(False, False, True, True),
            num_head_channels=(0, 0, 32, 32),
            num_class_embeds=4,
            resblock_updown=True,
            include_fc=True,
            with_demographics=True,
            dem_embed_dim=width,
        )
    assert parameters(ours) - parameters(ours.metadata_encoder) == parameters(theirs)


def test_same_weights_give_the_authors_velocity() -> None:
    """Block for block the same network: copy the weights in order and compare the outputs."""
    ours = awake()
    theirs = DiffusionUNet(
        spatial_dims=3,
        in_channels=4,
        out_channels=4,
        num_res_blocks=1,
        num_channels=SMALL.channels,
        attention_levels=SMALL.attention,
        norm_num_groups=8,
        num_head_channels=8,
        num_class_embeds=4,
        resblock_updown=True,
        include_fc=True,
        with_demographics=True,
        dem_embed_dim=8,
    ).eval()
    names = {"class_embedding": "modality_embedding", "dem_proj": "metadata_projection"}
    state = ours.state_dict()
    renamed = {}
    for key in theirs.state_dict():
        first, rest = key.split(".", 1)
        renamed[key] = state[f"{names.get(first, first)}.{rest}"]
    theirs.load_state_dict(renamed)
    z, given = torch.randn(2, *LATENT), conditions()
    metadata = ours.metadata_encoder(given.values, given.mask)
    with torch.no_grad():
        expected = theirs(
            z,
            1000 * TIMES,
            class_labels=given.modality,
            demographics_embedding=metadata,
        )
        torch.testing.assert_close(ours(z, TIMES, given), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changed", ["t", "modality", "values", "mask"])
def test_every_condition_moves_the_velocity(changed: str) -> None:
    denoiser, z, given = awake(), torch.randn(2, *LATENT), conditions()
    times, other = TIMES, given
    if changed == "t":
        times = 0.5 * TIMES
    elif changed == "modality":
        other = replace(given, modality=given.modality + 1)
    else:
        other = replace(given, **{changed: getattr(given, changed) * 0.5})
    with torch.no_grad():
        moved = denoiser(z, TIMES, given) - denoiser(z, times, other)
    assert moved.abs().max() > 1e-4


def test_folding_is_the_unshuffle_of_voxels() -> None:
    z = torch.randn(2, 3, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    folded = fold(z, 2)
    assert folded.shape == (2, 24, 2, 3, 4)
    assert torch.equal(folded[1, 8 + 4 + 1, 1, 2, 3], z[1, 1, 3, 4, 7])  # channel 1, cube (1, 0, 1)
    assert torch.equal(unfold(folded, 2), z)
    assert torch.equal(fold(z, 1), z)


def test_items_of_a_batch_do_not_mix() -> None:
    denoiser, z, given = awake(), torch.randn(3, *LATENT), conditions(3)
    with torch.no_grad():
        times = torch.linspace(0.2, 0.8, 3)
        whole = denoiser(z, times, given)
        part = denoiser(z[1:], times[1:], given[1:])
    torch.testing.assert_close(whole[1:], part, rtol=1e-4, atol=1e-5)


def test_raw_width_is_the_published_106() -> None:
    assert MetadataEncoder(load_schema(), 16).mlp[0].in_features == 106


def test_missing_is_neither_the_mean_nor_no() -> None:
    """The mask alone tells an unknown age from the average one, and unknown from 'no'."""
    torch.manual_seed(0)
    encoder = MetadataEncoder(load_schema(), 16)
    mean_age = {"age": (60.0, 10.0), "height": (1, 1), "weight": (1, 1), "BMI": (1, 1)}
    rows = [{}, {"age": "60"}, {"tumor": "no"}, {"tumor": "yes"}]
    coded = [[torch.from_numpy(part)[None] for part in encode(row, mean_age)] for row in rows]
    assert torch.equal(coded[0][0][:, 0], coded[1][0][:, 0])
    embedded = [encoder(*pair).detach() for pair in coded]
    for i in range(len(rows)):
        for j in range(i):
            assert (embedded[i] - embedded[j]).abs().max() > 1e-3


def test_values_of_missing_fields_are_ignored() -> None:
    encoder = MetadataEncoder(load_schema(), 16)
    values, mask = (torch.from_numpy(part)[None] for part in encode({"sex": "male"}))
    junk = torch.where(mask > 0, values, torch.ones_like(values))
    assert torch.equal(encoder(values, mask), encoder(junk, mask))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"norm_groups": 3}, "norm_groups: 3 does not divide 8 channels"),
        ({"head_channels": 5}, "head_channels: 5 does not divide 16 channels"),
        ({"attention": (True,)}, "one entry per level"),
    ],
)
def test_impossible_settings_are_told(changes: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse(UNetSettings, SMALL.model_dump() | changes, "here")


def test_latent_too_odd_for_the_levels_is_told_at_load() -> None:
    """The latent of 84 voxels a side is 21, which three halvings do not divide."""
    study = {"volume": {"shape": [84, 96, 64]}, "compressor_training": {"crop": [64, 64, 64]}}
    with pytest.raises(UserError, match=r"denoisers\.wfdm.*\(21, 24, 16\): use fewer levels"):
        parse(Study, study, "here")


def test_conditions_travel_in_a_batch_and_back() -> None:
    given = conditions(3)
    again = Conditions.from_dict({"z": torch.zeros(1)} | given.as_dict())
    for name, part in given.as_dict().items():
        assert torch.equal(getattr(again, name), part)
        assert torch.equal(getattr(given.repeated(2), name)[4], part[2])
    with pytest.raises(UserError, match="unknown modality 'PD'"):
        Conditions.of(["PD"], [{}], None)
