"""Published systems as generators: files, frames, masks, samples, sidecars, rows left out."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from wfdm.baselines import hagan, wdm
from wfdm.baselines import med_ddpm as med
from wfdm.baselines import med_ddpm_networks as med_networks
from wfdm.baselines.ancestral import Schedule, cosine_betas
from wfdm.baselines.diffusion_unet import UNet
from wfdm.baselines.files import filled, published_state
from wfdm.baselines.grid import BRATS, centred, on_study_grid
from wfdm.config.baselines import HaganSettings, MedDdpmSettings, WdmSettings
from wfdm.config.study import Study
from wfdm.config.volumes import VolumeSettings
from wfdm.data.grid import sri24_grid
from wfdm.data.masks import listed, read_mask
from wfdm.data.volumes import model_affine
from wfdm.errors import UserError
from wfdm.generators.protocol import Request
from wfdm.generators.write import write_samples
from wfdm.seeds import seeded_weights
from wfdm.stages import plan, rows, sample_test
from wfdm.tables.systems import described

SHAPE = (40, 48, 32)
VOLUME = VolumeSettings(shape=SHAPE)
SPACING = 4.0


def blob(affine, shape, centre, width=20.0):
    """A smooth body around a point in mm."""
    parts = []
    widths = np.broadcast_to(width, 3)
    for axis, size in enumerate(shape):
        (world,) = np.flatnonzero(affine[:3, axis])
        places = np.arange(size) * affine[world, axis] + affine[world, 3]
        parts.append(np.exp(-(((places - centre[world]) / widths[world]) ** 2) / 2))
    return parts[0][:, None, None] * parts[1][:, None] * parts[2]


def middle_of(volume, affine):
    """The middle of a volume's brightness, in mm."""
    indices = np.indices(volume.shape).reshape(3, -1)
    return affine[:3, :3] @ (indices @ volume.ravel() / volume.sum()) + affine[:3, 3]


CENTRE = np.array([-110.0, 125.0, 82.0])
MASK = BRATS @ np.diag([4.0, 4, 4, 1])


def test_a_brats_volume_is_cut_from_the_grid_and_not_interpolated():
    stored = np.random.default_rng(0).random((240, 240, 155)).astype(np.float32)
    ras = nib.as_closest_canonical(nib.Nifti1Image(stored, BRATS))
    np.testing.assert_array_equal(ras.affine, sri24_grid().affine)
    made = on_study_grid(stored, BRATS, (192, 224, 160), 1.0)
    wanted = np.zeros((192, 224, 160), np.float32)
    wanted[:, :, 2:157] = np.asarray(ras.dataobj)[24:216, 8:232]
    np.testing.assert_allclose(made, wanted, atol=1e-6)


def test_wdm_volumes_lie_where_their_training_scans_lay():
    """The authors' preparation of a BraTS volume, done here, then undone by its frame."""
    stored = blob(BRATS, (240, 240, 155), CENTRE)
    padded = np.pad(stored, ((8, 8), (8, 8), (50, 51)))
    halved = padded.reshape(128, 2, 128, 2, 128, 2).mean((1, 3, 5))
    np.testing.assert_allclose(middle_of(halved, wdm.WHERE), CENTRE, atol=0.05)
    made = on_study_grid(halved, wdm.WHERE, (192, 224, 160), 1.0)
    np.testing.assert_allclose(
        made, blob(model_affine((192, 224, 160), 1.0), made.shape, CENTRE), atol=0.02
    )


@pytest.mark.parametrize("orientation", ["RIA", "LPS", "RAS", "SRP"])
def test_a_volume_without_a_frame_is_turned_and_centred(orientation):
    true = np.diag([3.0, 4.0, 5.0, 1])
    ras = nib.Nifti1Image(blob(true, (50, 44, 30), [60.0, 80, 70], [9, 15, 21]), true)
    codes = nib.orientations.axcodes2ornt(tuple(orientation))
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), codes)
    turned = ras.as_reoriented(turn)
    array = np.asarray(turned.dataobj)
    field = np.multiply(array.shape, turned.header.get_zooms())
    affine = centred(array, orientation, tuple(field))
    assert nib.aff2axcodes(affine) == tuple(orientation)
    np.testing.assert_allclose(affine[:3, :3], turned.affine[:3, :3], atol=1e-9)
    grid = sri24_grid()
    middle = grid.affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2) + grid.affine[:3, 3]
    np.testing.assert_allclose(middle_of(array, affine), middle, atol=1e-6)


def test_weights_are_found_within_their_file(tmp_path):
    network = nn.Linear(3, 2)
    state = network.state_dict()
    nested = {"step": 7, "model": {}, "ema": {f"net.{key}": value for key, value in state.items()}}
    nested["ema"]["betas"] = torch.zeros(4)
    torch.save(nested, tmp_path / "a.pt")
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "b.pth")
    for file, within, prefix in [("a.pt", ("ema",), "net."), ("b.pth", ("model",), "")]:
        found = published_state(tmp_path / file, "it", within, prefix)
        loaded = filled(lambda: nn.Linear(3, 2), found, tmp_path / file, "it")
        torch.testing.assert_close(loaded.state_dict(), state)
        assert not loaded.training and not any(each.requires_grad for each in loaded.parameters())


class Trap:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    "load", [wdm.load, med.load, lambda file: hagan.load(file, 256)], ids=["wdm", "med", "hagan"]
)
def test_a_wrong_file_is_one_clear_line(tmp_path, capsys, load):
    file = tmp_path / "weights.pt"
    cases = {
        "missing": lambda: None,
        "another system": lambda: torch.save({"a.weight": torch.zeros(2)}, file),
        "no weights": lambda: torch.save({"epoch": 3}, file),
        "cut": lambda: file.write_bytes(file.read_bytes()[:200]),
        "pickled": lambda: file.write_bytes(pickle.dumps({"model": Trap()})),
        "pickled by torch": lambda: torch.save({"model": Trap()}, file),
    }
    for case, prepare in cases.items():
        prepare()
        with pytest.raises(UserError) as told:
            load(file)
        assert str(file) in str(told.value) and "\n" not in str(told.value), case
    assert "executed" not in capsys.readouterr().out


def test_a_file_of_another_size_names_the_weight(tmp_path):
    file = tmp_path / "weights.pt"
    shape = replace(wdm.wdm.PUBLISHED, channels=32)
    torch.save(UNet(shape).state_dict(), file)
    with pytest.raises(UserError, match=r"hold the weights of WDM: '.*' is \(.*\), not \(.*\)$"):
        wdm.load(file)
    with pytest.raises(UserError, match=r"Med-DDPM: 'input_blocks\.3\.0\.op\.weight' is not"):
        med.load(file)


@pytest.fixture
def masks(tmp_path) -> Path:
    """Two people as BraTS 2021 and 2023 give them: a segmentation and a T1w scan."""
    for number, (mark, t1, enhancing) in enumerate([("_", "t1", 4), ("-", "t1n", 3)]):
        folder = tmp_path / "masks" / f"P{number}"
        folder.mkdir(parents=True)
        scan = 100 * (blob(MASK, (60, 60, 39), CENTRE, 30) > 0.4)
        labels = np.zeros(scan.shape, np.uint8)
        labels[26:32, 24:34, 17:27], labels[28:30, 27:32, 18:20] = 2, enhancing
        for name, array in (("seg", labels), (t1, scan.astype(np.uint8))):
            path = folder / f"P{number}{mark}{name}.nii.gz"
            nib.save(nib.Nifti1Image(array, MASK), path)
    return tmp_path / "masks"


def test_a_mask_has_its_brain_from_the_scan_beside_it(masks):
    counts = []
    for path in listed(masks):
        image = read_mask(path)
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        labels = np.asarray(image.dataobj)
        assert set(np.unique(labels)) == {0, 2, 3, 4}
        counts.append([int((labels == label).sum()) for label in range(5)])
    assert counts[0] == counts[1] and counts[0][3] == 20 and counts[0][2] == 580


def test_a_mask_without_a_brain_is_refused(masks):
    path = listed(masks)[0]
    path.with_name("P0_t1.nii.gz").unlink()
    with pytest.raises(UserError, match=r"no brain .* place its T1w scan beside it \(P0_t1"):
        read_mask(path)
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[0, 0, 0] = 7
    nib.save(nib.Nifti1Image(labels, np.eye(4)), path)
    with pytest.raises(UserError, match="label 7"):
        read_mask(path)
    with pytest.raises(UserError, match="holds no segmentation"):
        listed(masks / "empty")


def test_the_condition_is_cut_around_the_middle_and_knows_its_place(masks):
    path = listed(masks)[0]
    whole = read_mask(path)
    for size in ((48, 48, 36), (70, 48, 41)):
        labels, where = med.condition_of(path, size)
        assert labels.shape == size[::-1]
        back = np.asarray(labels.permute(2, 1, 0), dtype=float)
        np.testing.assert_allclose(
            middle_of((back == 3).astype(float), where),
            middle_of((np.asarray(whole.dataobj) == 3).astype(float), whole.affine),
        )


def small(network, shape):
    with seeded_weights(3):
        return network(shape).eval().requires_grad_(False)


@pytest.fixture
def systems(masks, monkeypatch):
    """The three, with small networks of the same kinds."""
    own = Schedule.of(cosine_betas(250)).every(torch.tensor([0, 90, 249]))
    monkeypatch.setattr(med_networks, "schedule", lambda: own)
    common = ("0" * 64, VOLUME, SPACING, torch.device("cpu"))
    unet = replace(wdm.wdm.PUBLISHED, channels=8, multiples=(1, 1), groups=4, blocks=1)
    mask = replace(med_networks.PUBLISHED, channels=8, multiples=(1, 1), groups=4, blocks=1)
    flat = WdmSettings(kind="wdm", label="WDM", steps=2)
    asked = MedDdpmSettings(kind="med-ddpm", label="Med-DDPM", masks=str(masks))
    with seeded_weights(4):
        one = nn.Sequential(
            nn.Linear(hagan.LATENT, 16**3), nn.Unflatten(1, (1, 16, 16, 16)), nn.Tanh()
        )
    return {
        "wdm": wdm.Wdm("wdm", flat, small(UNet, unet), *common, side=64),
        "med-ddpm": med.MedDdpm(
            "med-ddpm", asked, small(UNet, mask), *common, tuple(listed(masks)), (16, 16, 16)
        ),
        "ha-gan": hagan.Hagan("ha-gan", HaganSettings(kind="ha-gan", label="HA"), one, *common),
    }


@pytest.mark.parametrize("name", ["wdm", "med-ddpm", "ha-gan"])
def test_a_sample_depends_on_its_request_alone_and_says_whose_it_is(systems, name, tmp_path):
    system = systems[name]
    requests = [Request("b", "T1w"), Request("a", "T1w")]
    both = list(system.sample(requests, 5))
    (alone,) = system.sample(requests[1:], 5)
    assert both[0].volume.shape == SHAPE and both[0].volume.dtype == np.float32
    np.testing.assert_array_equal(alone.volume, both[1].volume)
    np.testing.assert_array_equal(alone.affine, model_affine(SHAPE, SPACING))
    assert np.isfinite(alone.volume).all() and alone.volume.std() > 0
    assert not np.array_equal(both[0].volume, both[1].volume)
    (other,) = system.sample(requests[1:], 6)
    assert not np.array_equal(alone.volume, other.volume)
    write_samples(system, {tmp_path / "a.nii.gz": requests[1]}, 5, "code", "test")
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["Synthetic"] and told["Seed"] == 5
    assert (told["Citation"], told["License"]) == (system.row.citation, system.row.licence)


def test_what_a_system_was_not_trained_on_is_refused(systems):
    with pytest.raises(UserError, match="wdm was not trained on FLAIR; it makes T1w"):
        list(systems["wdm"].sample([Request("a", "FLAIR")], 5))
    made = list(systems["med-ddpm"].sample([Request("a", "FLAIR"), Request("a", "T2w")], 5))
    assert not np.array_equal(made[0].volume, made[1].volume)


def test_a_row_is_left_out_until_its_weights_and_masks_are_there(tmp_path, masks):
    study = Study(
        assets=str(tmp_path / "assets"),
        generators={
            "wdm": {"kind": "wdm", "label": "WDM"},
            "med-ddpm": {"kind": "med-ddpm", "masks": str(tmp_path / "none")},
        },
        schedulers={},
        figures={"generator": None},
    )
    absent = plan.unplaced(study)
    assert absent == {
        "wdm": f"{tmp_path}/assets/brats_unet_128_1200k.pt",
        "med-ddpm": f"{tmp_path}/assets/model_brats.pt",
    }
    assert rows.table4(rows.resolved(study, (), absent)) == []
    (tmp_path / "assets").mkdir()
    for path in absent.values():
        Path(path).touch()
    assert plan.unplaced(study) == {"med-ddpm": str(tmp_path / "none")}
    assert rows.table2(rows.resolved(study, (), plan.unplaced(study))) == ["wdm"]


def test_table_2_tells_of_a_system_in_the_papers_words():
    study = Study()
    paper = (Path(__file__).parents[2] / "config/published/table2.csv").read_text()
    for name in ("wdm", "med-ddpm", "ha-gan"):
        cells = described(study, study.generators[name], Path("weights.pt"), "")
        line = next(line for line in paper.splitlines() if line.startswith(f"{name},"))
        assert all(cell in line for cell in cells.values()), (name, cells, line)
        assert len(cells) == 6


def test_the_stage_takes_no_file_that_nobody_vouched_for(tmp_path):
    source = tmp_path / "brats_unet_128_1200k.pt"
    torch.save({"a": torch.zeros(1)}, source)
    made = {"kind": "wdm"}
    content = {"seed": 1, "generator": "wdm", "made": made, "spacing": 1.0}
    settings = sample_test.Settings.parse(json.dumps(content | {"volume": VOLUME.model_dump()}))
    tables = [tmp_path / name for name in ("scans.tsv", "splits.tsv", "volumes.tsv")]
    with pytest.raises(UserError, match=r"'wdm-brats' has no published .* sha256: [0-9a-f]"):
        sample_test.run(settings, *tables, 0, 1, tmp_path / "out.tsv", source=source)
    assert not (tmp_path / "out.tsv").exists()
