"""Orientation, choice of scans, what stands in which cell, and stable bytes of the figures."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread
from scipy import ndimage

from wfdm.config.compressors import HaarTransform
from wfdm.config.study import Study
from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import write_table
from wfdm.errors import UserError
from wfdm.figures import BY_MODALITY, panels, reconstructions
from wfdm.figures.planes import AXIAL, CORONAL, PLANES, SAGITTAL
from wfdm.figures.reconstructions import figure2
from wfdm.figures.samples import figure3, figures4to7
from wfdm.models.compressors import registry
from wfdm.stages import figure2 as figure2_stage
from wfdm.stages import figure3 as figure3_stage

ROOT = Path(__file__).parents[2]
SETTINGS = VolumeSettings(shape=(20, 24, 16), percentiles=(0, 100))


@pytest.mark.parametrize(
    ("plane", "marked", "shape", "seen"),
    [  # RAS: low first index is left, high second is anterior, high third is superior
        (AXIAL, (2, 21, 8), (24, 20), [2, 2]),
        (CORONAL, (2, 12, 13), (16, 20), [2, 2]),
        (SAGITTAL, (10, 21, 14), (16, 24), [1, 2]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_left_is_left_and_anterior_or_superior_on_top(plane, marked, shape, seen):
    """What is marked stands where a viewer in neurological convention has it."""
    volume = np.zeros((1, 20, 24, 16))
    volume[0, *marked] = 1
    image = plane.image(volume)
    assert image.shape == shape
    assert np.argwhere(image == 1).tolist() == [seen]


def test_the_convention_is_told_of_the_planes_that_are_shown():
    one = panels.convention([AXIAL, AXIAL])
    assert one == (
        "Axial slices through the middle of the volume. Left in the image is left in the brain."
    )
    every = panels.convention(PLANES)
    assert every.startswith("Axial, coronal and sagittal slices")
    assert every.endswith("is left in the brain; in sagittal slices it is anterior.")


def test_the_choice_of_scans_is_by_seed_and_not_by_order():
    scans = pd.DataFrame({"scan_id": [f"A/sub-{i}_T1w" for i in range(30)], "modality": "T1w"})
    first = panels.choose(scans, "T1w", 1)["scan_id"]
    assert panels.choose(scans[::-1], "T1w", 1)["scan_id"] == first
    assert len({panels.choose(scans, "T1w", seed)["scan_id"] for seed in range(20)}) > 5
    assert panels.choose(scans, "T2w", 1) is None


@pytest.fixture
def volumes(tmp_path):
    rows = []
    for index, modality in enumerate(("T1w", "T2w")):
        path = tmp_path / f"{modality}.nii.gz"
        volume = np.random.default_rng(index).random(SETTINGS.shape, dtype=np.float32)
        nib.save(nib.Nifti1Image(volume, np.eye(4)), path)
        key = f"A/sub-1_{modality}"
        rows.append({"scan_id": key, "modality": modality, "path": str(path)})
    return pd.DataFrame(rows)


def bytes_of(paths):
    return [path.read_bytes() for path in paths]


class Negative(torch.nn.Module):
    """A compressor that inverts intensities, so that its column can be told from the input."""

    def encode(self, x):
        return 1 - x, torch.zeros_like(x)

    def decode(self, z):
        return z


def test_figure_2_shows_each_compressor_and_is_the_same_every_time(volumes, tmp_path, monkeypatch):
    monkeypatch.setattr(reconstructions, "load", lambda folder: Negative())
    draw = [
        figure2({"WF-VAE": "x", "Other": "y"}, volumes, SETTINGS, 1, tmp_path / name, 80)
        for name in ("a", "b")
    ]
    assert [path.suffix for path in draw[0]] == [".pdf", ".png"]
    assert bytes_of(draw[0]) == bytes_of(draw[1])
    assert draw[0][0].read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in draw[0][0].read_bytes()
    assert imread(draw[0][1]).std() > 0.05


def middle(path):
    """The middle axial slice of a volume file, anterior on top, scaled to [0, 1]."""
    whole = nib.load(path).get_fdata()
    return (whole[:, ::-1, 8].T - whole.min()) / (whole.max() - whole.min())


def cells_of(monkeypatch):
    """Catch what a figure is drawn from: rows, columns, note."""
    caught = []
    monkeypatch.setattr(panels, "draw", lambda *given: caught.append(given) or ())
    return caught


def test_figure_2_has_the_input_and_each_reconstruction_in_its_column(
    volumes, tmp_path, monkeypatch
):
    haar = registry.build(HaarTransform(kind="haar", levels=2))
    found = {"a": Negative(), "b": haar}
    monkeypatch.setattr(reconstructions, "load", found.get)
    caught = cells_of(monkeypatch)
    figure2({"Negative": "a", "Haar": "b"}, volumes, SETTINGS, 1, tmp_path / "x", 80)
    rows, columns = caught[0][:2]
    assert columns == ["Input", "Negative", "Haar"]
    assert [row.label for row in rows] == ["T1w", "T2w", "T1Gd", "FLAIR"]
    for row, path in zip(rows, volumes["path"], strict=False):
        for cell, wanted in zip(
            row.images, (middle(path), 1 - middle(path), middle(path)), strict=True
        ):
            np.testing.assert_allclose(cell, wanted, atol=1e-5)
    assert [row.images for row in rows[2:]] == [(None, None, None)] * 2


def test_figure_3_has_the_sample_of_the_scans_own_request(volumes, tmp_path, monkeypatch):
    caught = cells_of(monkeypatch)
    t1, t2 = volumes["path"]
    swapped = volumes.assign(path=[t2, t1])  # told apart: the T1w request got the other volume
    figure3({"WFDM": swapped, "Noise": swapped[1:]}, volumes, SETTINGS, 1, tmp_path / "x", 80)
    rows, columns = caught[0][:2]
    assert columns == ["Real", "WFDM", "Noise"]
    for row, wanted in zip(rows, ((t1, t2, None), (t2, t1, t1)), strict=False):
        for cell, path in zip(row.images, wanted, strict=True):
            if path is None:
                assert cell is None
            else:
                np.testing.assert_allclose(cell, middle(path), atol=1e-5)


def test_a_sample_of_another_modality_is_never_shown(volumes, tmp_path, monkeypatch):
    caught = cells_of(monkeypatch)
    other = volumes[:1].assign(modality="T2w")  # under the scan's own name
    figures4to7("T1w", {"Theirs": other}, volumes, SETTINGS, 1, tmp_path / "x", 80)
    assert caught[0][1] == ["Real"]


def test_figure_3_shows_another_sample_of_the_modality_where_no_scan_was_asked_for(
    volumes, tmp_path, monkeypatch
):
    caught = cells_of(monkeypatch)
    theirs = volumes.assign(scan_id=["theirs/1", "theirs/2"])
    figure3({"Theirs": theirs}, volumes, SETTINGS, 1, tmp_path / "x", 80)
    for row, path in zip(caught[0][0], volumes["path"], strict=False):
        np.testing.assert_allclose(row.images[1], middle(path), atol=1e-5)


def test_figures_4_to_7_show_one_modality_in_three_planes(volumes, tmp_path, monkeypatch):
    """Of the scan and the samples that figure 3 shows; only who made some has a column."""
    caught = cells_of(monkeypatch)
    t1, t2 = volumes["path"]
    swapped = volumes.assign(path=[t2, t1])
    made = {"WFDM": swapped, "T2w only": swapped[1:], "Theirs": swapped.assign(scan_id=["x", "y"])}
    for modality, real, sample, names in (
        ("T1w", t1, t2, ["WFDM", "Theirs"]),
        ("T2w", t2, t1, ["WFDM", "T2w only", "Theirs"]),
    ):
        figures4to7(modality, made, volumes, SETTINGS, 1, tmp_path / "x", 80)
        rows, columns, note = caught.pop()[:3]
        assert columns == ["Real", *names]
        assert [row.label for row in rows] == ["Axial", "Coronal", "Sagittal"]
        assert note.startswith(f"Real: test scan A/sub-1_{modality}. ")
        for row, shape in zip(rows, ((24, 20), (16, 20), (16, 24)), strict=True):
            assert {image.shape for image in row.images} == {shape}
        for image, path in zip(rows[0].images, [real] + [sample] * len(names), strict=True):
            np.testing.assert_allclose(image, middle(path), atol=1e-5)
        whole = nib.load(sample).get_fdata()
        whole = (whole - whole.min()) / (whole.max() - whole.min())
        np.testing.assert_allclose(rows[1].images[1], np.rot90(whole[:, 12]), atol=1e-5)
        np.testing.assert_allclose(rows[2].images[1], np.fliplr(np.rot90(whole[10])), atol=1e-5)


def test_a_modality_without_a_test_scan_has_a_figure_that_says_so(volumes, tmp_path):
    pdf, png = figures4to7("FLAIR", {"WFDM": volumes}, volumes, SETTINGS, 1, tmp_path / "7", 80)
    assert pdf.read_bytes().startswith(b"%PDF") and imread(png).std() > 0.01
    with pytest.raises(UserError, match="unknown modality 'CT'"):
        figures4to7("CT", {}, volumes, SETTINGS, 1, tmp_path / "x", 80)


def test_a_voxel_has_one_size_in_all_planes(tmp_path):
    """A cube in the middle is a square, and the same one in every row."""
    volume = np.zeros((1, 40, 56, 32))
    volume[0, 15:25, 23:33, 11:21] = 0.5
    rows = [panels.Row(plane.name, [plane.image(volume)], plane) for plane in PLANES]
    _, png = panels.draw(rows, ["One"], "", tmp_path / "squares", 100)
    grey = imread(png)[..., :3].mean(axis=2)
    parts, _ = ndimage.label(abs(grey - 0.5) < 0.02)
    found = [
        part for part in ndimage.find_objects(parts) if np.ptp([part[0].start, part[0].stop]) > 9
    ]
    assert len(found) == 3, "and nothing else in that grey"
    side = 100 * panels.CELL * 10 / 56  # pixels of 10 of the 56 voxels that a panel is wide
    for part in found:
        for across in part:
            assert across.stop - across.start == pytest.approx(side, abs=1.5)


def test_the_numbers_of_the_figures_are_the_papers():
    page = (ROOT / "config/published/contents.csv").read_text()
    for modality, number in BY_MODALITY.items():
        assert f"\nfigure{number},Qualitative comparison for {modality} synthesis,\n" in page


def test_the_stages_draw_test_scans_under_their_labels(volumes, tmp_path, monkeypatch):
    table, splits = tmp_path / "volumes.tsv", tmp_path / "splits.tsv"
    more = volumes.assign(scan_id=volumes["scan_id"].str.replace("sub-1", "sub-2"))
    every = pd.concat([volumes, more.assign(path="missing.nii.gz")])
    write_table(every, table)
    split = every[["scan_id"]].assign(person=["p", "p", "q", "q"])
    write_table(split.assign(split=["test", "test", "train", "train"], leak=""), splits)
    folder = tmp_path / "dwt-2"
    registry.save(folder, registry.build(HaarTransform(kind="haar", levels=2)))
    study = Study()
    two, three = figure2_stage.Settings.of(study), figure3_stage.Settings.of(study)
    assert (two.dpi, two.seed, two.volume) == (200, 42, study.volume)
    small = {"volume": SETTINGS, "dpi": 40}
    two, three = two.model_copy(update=small), three.model_copy(update=small)
    columns = [f"dwt-2={folder / 'model.safetensors'}"]
    out, label = tmp_path / "figure2.pdf", ["dwt-2=Two stages"]
    figure2_stage.run(two, columns, table, splits, out, label)
    assert out.read_bytes().startswith(b"%PDF") and out.with_suffix(".png").is_file()
    record = json.loads((tmp_path / "figure2.pdf.prov.json").read_text())
    assert set(record["outputs"]) == {str(out), str(out.with_suffix(".png"))}
    assert record["settings"]["labels"] == {"dwt-2": "Two stages"}
    third = tmp_path / "figure3.pdf"
    figure3_stage.run(three, [f"wfdm={table}"], table, splits, third, ["wfdm=Ours"])
    assert third.read_bytes().startswith(b"%PDF") and third.with_suffix(".png").is_file()
    fourth = tmp_path / "figure4.pdf"
    figure3_stage.run(three, [f"wfdm={table}"], table, splits, fourth, ["wfdm=Ours"], "T1w")
    assert fourth.read_bytes().startswith(b"%PDF") and fourth.with_suffix(".png").is_file()
    record = json.loads((tmp_path / "figure4.pdf.prov.json").read_text())
    assert record["settings"]["modality"] == "T1w"
    caught = []
    monkeypatch.setattr(panels, "draw", lambda *given: caught.append(given) or [out])
    figure2_stage.run(two, columns, table, splits, out, label)
    figure3_stage.run(three, [f"wfdm={table}"], table, splits, third, ["wfdm=Ours"])
    assert [given[1] for given in caught] == [["Input", "Two stages"], ["Real", "Ours"]]


def test_figure_3_changes_with_a_sample_and_leaves_missing_ones_empty(volumes, tmp_path):
    without = figure3({"WFDM": volumes[:0]}, volumes, SETTINGS, 1, tmp_path / "without", 80)
    whole = figure3({"WFDM": volumes}, volumes, SETTINGS, 1, tmp_path / "whole", 80)
    empty, full = imread(without[1])[..., :3], imread(whole[1])[..., :3]
    assert empty.shape == full.shape
    changed = np.argwhere((empty != full).any(axis=2))
    # Only the right-hand column, and of it only the two modalities that have a scan, changes.
    assert changed[:, 1].min() > empty.shape[1] * 0.55
    assert changed[:, 0].max() < empty.shape[0] * 0.6
