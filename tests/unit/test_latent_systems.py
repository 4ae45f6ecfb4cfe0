"""LDM and MAISI as generators: what they are told, where their volumes lie, wrong files."""

import json
import pickle
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from wfdm.baselines import ldm, maisi
from wfdm.baselines import ldm_networks as ldm_nets
from wfdm.baselines import maisi_networks as maisi_nets
from wfdm.config.files import parse
from wfdm.config.latent_baselines import LdmSettings, MaisiBrainSettings
from wfdm.config.study import Study
from wfdm.config.volumes import VolumeSettings
from wfdm.data.assets import find
from wfdm.data.volumes import model_affine
from wfdm.errors import UserError
from wfdm.generators.protocol import Request
from wfdm.generators.write import write_samples
from wfdm.stages import plan, rows
from wfdm.tables.systems import described

ALONE = {"schedulers": {}, "figures": {"generator": None}}
SHAPE, SPACING, CPU = (64, 64, 32), 3.0, torch.device("cpu")


def seeded(build):
    torch.manual_seed(0)
    network = build()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval().requires_grad_(False)


SHARED = {
    "digest": "d" * 64,
    "autoencoder_digest": "a" * 64,
    "volume": VolumeSettings(shape=SHAPE),
    "spacing": SPACING,
    "device": CPU,
}


@pytest.fixture(scope="module")
def ldm_system():
    return ldm.Ldm(
        name="ldm",
        row=LdmSettings(kind="ldm", steps=2),
        network=seeded(lambda: ldm_nets.unet((8, 16, 16), 1, 8)),
        autoencoder=seeded(lambda: ldm_nets.autoencoder((8, 8, 8, 8), 1, 8)),
        sides=(4, 4, 4),
        **SHARED,
    )


@pytest.fixture(scope="module")
def maisi_system():
    return maisi.Maisi(
        name="maisi-mr-brain",
        row=MaisiBrainSettings(kind="maisi-mr-brain", steps=2),
        network=seeded(lambda: maisi_nets.unet((8, 8, 16, 16), 1, 8, 8)),
        autoencoder=seeded(lambda: maisi_nets.autoencoder((8, 8, 16), (1, 1, 1), 8)),
        scale=1.25,
        **SHARED,
    )


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"sex": "male", "age": "63"}, [1.0, 0.5, 0.2, 0.4]),
        ({"sex": "female", "age": "90"}, [0.0, 1.0, 0.2, 0.4]),
        ({"sex": "other", "age": 20}, [0.0, 0.0, 0.2, 0.4]),
        ({}, [0.0, 0.1, 0.2, 0.4]),
        ({"sex": "", "age": ""}, [0.0, 0.1, 0.2, 0.4]),
    ],
)
def test_ldm_is_told_what_is_recorded_and_else_its_authors_defaults(ldm_system, metadata, told):
    assert ldm_system.told(Request("a", "T1w", metadata)) == pytest.approx(told)


@pytest.mark.parametrize("name", ["ldm_system", "maisi_system"])
def test_samples_lie_on_the_studys_grid_and_depend_on_their_request_alone(name, request, tmp_path):
    system = request.getfixturevalue(name)
    asked = [Request(f"sub-{number}", "T1w", {"age": "60"}) for number in range(2)]
    paths = {tmp_path / f"{each.name}.nii.gz": each for each in asked}
    write_samples(system, paths, 7, "code", "test")
    both = [nib.load(path) for path in paths]
    for image in both:
        assert image.shape == SHAPE
        np.testing.assert_allclose(image.affine, model_affine(SHAPE, SPACING))
    first, second = (np.asarray(image.dataobj) for image in both)
    assert first.std() > 0 and not np.array_equal(first, second)
    (alone,) = system.sample(asked[1:], 7)
    np.testing.assert_array_equal(alone.volume, second)
    told = json.loads((tmp_path / "sub-0.json").read_text())
    assert told["Synthetic"] and told["License"] and told["Citation"]
    assert told["ModelSHA256"] == {"weights": "d" * 64, "autoencoder": "a" * 64}
    assert told["SkullStripped"] == (name != "ldm_system")


def test_other_modalities_are_refused(ldm_system, maisi_system):
    for system, modality in ((ldm_system, "T2w"), (maisi_system, "T1Gd")):
        with pytest.raises(UserError, match=f"was not trained on {modality}"):
            next(system.sample([Request("a", modality)], 1))


def test_maisi_makes_another_contrast_for_another_modality(maisi_system):
    made = [next(maisi_system.sample([Request("a", each)], 1)) for each in ("T1w", "T2w", "FLAIR")]
    assert not np.array_equal(made[0].volume, made[1].volume)
    assert not np.array_equal(made[1].volume, made[2].volume)


def test_maisi_needs_sides_that_its_levels_halve(maisi_system):
    system = replace(maisi_system, volume=VolumeSettings(shape=(64, 64, 48)))
    with pytest.raises(UserError, match="multiples of 32"):
        next(system.sample([Request("a", "T1w")], 1))


class Trap:
    def __reduce__(self):
        return (print, ("executed",))


LOADERS = (ldm.load, ldm.load_autoencoder, maisi.load, maisi.load_autoencoder)


@pytest.mark.parametrize("load", LOADERS, ids=["ldm", "ldm-vae", "maisi", "maisi-vae"])
def test_a_wrong_file_is_one_clear_line(tmp_path, capsys, load):
    file = tmp_path / "weights.pt"
    small = ldm_nets.autoencoder((8, 8, 8, 8), 1, 8).state_dict()
    cases = {
        "missing": lambda: None,
        "another system": lambda: torch.save({"a.weight": torch.zeros(2)}, file),
        "another size": lambda: torch.save({"unet_state_dict": small}, file),
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


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="the younger first"):
        parse(LdmSettings, {"kind": "ldm", "ages": [82, 44]}, "here")


@pytest.mark.parametrize("name", ["ldm", "maisi-mr-brain"])
def test_a_row_is_left_out_until_both_files_are_placed(name, tmp_path):
    row = Study().generators[name]
    study = Study(assets=str(tmp_path), generators={name: row}, **ALONE)
    first, second = (tmp_path / find(each).file for each in row.assets)
    assert plan.unplaced(study) == {name: str(first)}
    first.touch()
    assert plan.unplaced(study) == {name: str(second)}
    assert rows.table2(rows.resolved(study, (), plan.unplaced(study))) == []
    second.touch()
    assert plan.unplaced(study) == {} and rows.table2(study) == [name]
    told = described(None, row, first, None)
    assert told["Steps"] == str(row.steps) and told["Output modalities"].startswith("T1w")


@pytest.mark.parametrize("module", [ldm, maisi])
def test_the_autoencoder_lies_beside_the_network_and_is_verified(module, tmp_path):
    name = "ldm" if module is ldm else "maisi-mr-brain"
    row = Study().generators[name]
    source = tmp_path / find(row.weights).file
    for told in ("is missing at", "no published checksum"):
        with pytest.raises(UserError, match=told):
            module.of_row(name, row, source, VolumeSettings(shape=SHAPE), SPACING)
        (tmp_path / find(row.autoencoder).file).touch()
