"""Files of samples: what stands beside them, what is kept, which scans are listed."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tests.unit.sampling_study import REQUESTS, STEPS, lay_out, made
from tests.unit.stage_b import SPACING, VOLUME, cohort
from wfdm.config.generators import SamplerSettings
from wfdm.data.mean_volumes import read_means
from wfdm.data.metadata import load_schema
from wfdm.data.table import read_table
from wfdm.data.volumes import load_standardised, model_affine
from wfdm.errors import UserError
from wfdm.generators import Request, load, references
from wfdm.generators.latent_diffusion import LatentDiffusion
from wfdm.generators.write import sidecar, write_samples
from wfdm.stages import sample_test

CODE = "fingerprint"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def generator(study: Path) -> LatentDiffusion:
    return load(study / "denoisers" / "tiny", SamplerSettings(steps=STEPS))


def test_written_sample_is_read_back(generator: LatentDiffusion, tmp_path: Path) -> None:
    first, second = (tmp_path / name / "x.nii.gz" for name in ("one", "two"))
    for path in (first, second):
        write_samples(generator, {path: REQUESTS[0]}, 7, CODE, "test")
    image = nib.load(first)
    assert np.array_equal(image.get_fdata(dtype=np.float32), made(generator, REQUESTS[:1])["a"])
    np.testing.assert_allclose(image.affine, model_affine(VOLUME.shape, SPACING))
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.header["descrip"].tobytes().startswith(b"SYNTHETIC")
    told = json.loads((tmp_path / "one" / "x.json").read_text())
    assert told["Synthetic"] is True
    assert (told["Contrast"], told["Conditions"], told["Seed"]) == ("T1w", {"age": "30"}, 7)
    assert (told["Sampler"], told["SamplingSteps"], told["CodeSHA256"]) == ("euler", STEPS, CODE)
    assert set(told["ModelSHA256"]) == {"denoiser", "compressor", "standard"}
    assert first.read_bytes() == second.read_bytes()


DECODED = ("noise", "reconstruction")
SOURCES = {
    "noise": "latents/scale.json",
    "reconstruction": "compressors/haar/model.safetensors",
    "mean": "means.safetensors",
    "real": "volumes.tsv",
}


def parsed(content: dict) -> Any:
    """The settings of the stage on the small study's grid."""
    grid = {"volume": VOLUME.model_dump(), "spacing": SPACING}
    return sample_test.Settings.parse(json.dumps(content | grid))


def run_shards(
    study: Path, out: Path, shards: int, seed: int = 7, kind: str = "diffusion"
) -> list[list[str]]:
    """Sample all shards by the stage; return the rows of their tables."""
    made = {"kind": "diffusion", "denoiser": "tiny", "steps": STEPS}
    source = study / "denoisers" / "tiny" / "model.safetensors"
    if kind != "diffusion":
        made = {"kind": kind, "compressor": "haar"} if kind in DECODED else {"kind": kind}
        source = study / SOURCES[kind]
    settings = parsed({"seed": seed, "generator": "tiny", "made": made})
    rows = []
    for shard in range(shards):
        file = out / f"shard-{shard:04d}-of-{shards:04d}.tsv"
        tables = (study / f"{name}.tsv" for name in ("scans", "splits", "volumes"))
        sample_test.run(settings, *tables, shard, shards, file, source=source)
        rows += read_table(file).to_numpy().tolist()
    return sorted(rows)


def test_each_test_scan_is_sampled_once(study: Path, tmp_path: Path) -> None:
    rows = run_shards(study, tmp_path, 3)
    scans = cohort()
    assert [row[0] for row in rows] == sorted(scans.loc[scans["split"] == "test", "scan_id"])
    paths = [Path(row[2]).relative_to(tmp_path).as_posix() for row in rows]
    assert paths[0] == "ALPHA/sub-08/anat/sub-08_space-SRI24_desc-synthetic_T1w.nii.gz"
    assert paths[1].startswith("ALPHA/sub-09/ses-1/anat/sub-09_ses-1_space-SRI24")
    assert "_ce-gadolinium_" in paths[2] and paths[2].endswith("_T1w.nii.gz")
    digests = [row[3] for row in run_shards(study, tmp_path / "again", 1)]
    assert digests == [row[3] for row in rows]


def test_what_is_there_is_kept_and_what_is_not_is_made(study: Path, tmp_path: Path) -> None:
    before = run_shards(study, tmp_path, 1)
    kept, lost, *_ = (Path(row[2]) for row in before)
    time = kept.stat().st_mtime_ns
    lost.unlink()
    assert run_shards(study, tmp_path, 1) == before
    assert kept.stat().st_mtime_ns == time
    after = run_shards(study, tmp_path, 1, seed=8)
    assert not {row[3] for row in before} & {row[3] for row in after}


def test_reference_needs_no_denoiser(study: Path, tmp_path: Path) -> None:
    rows = run_shards(study, tmp_path, 1, kind="noise")
    told = json.loads(Path(rows[0][2].replace(".nii.gz", ".json")).read_text())
    assert "SamplingSteps" not in told and set(told["ModelSHA256"]) == {"compressor"}


def sidecar_of(path: str) -> dict:
    """What lies beside a volume."""
    return json.loads(Path(path.replace(".nii.gz", ".json")).read_text())


def test_real_scans_are_drawn_from_the_training_split_and_only_listed(
    study: Path, tmp_path: Path
) -> None:
    rows = run_shards(study, tmp_path / "out", 2, kind="real")
    volumes = read_table(study / "volumes.tsv").set_index("scan_id")
    split = cohort().set_index("scan_id")["split"]
    # The test split has one scan of each modality, and the training split one or two.
    assert sorted(row[1] for row in rows) == ["FLAIR", "T1Gd", "T1w", "T2w"]
    for name, modality, path, _, scale in rows:
        assert split[name] == "train" and scale == ""
        assert volumes.loc[name, ["modality", "path"]].tolist() == [modality, path]
    assert not list((tmp_path / "out").rglob("*.nii.gz"))
    assert rows == run_shards(study, tmp_path / "again", 1, kind="real")


def test_real_scans_are_drawn_by_the_seed_each_once() -> None:
    names = [f"A/sub-{number}" for number in range(3)]
    training = pd.DataFrame({"scan_id": names, "modality": "T2w", "path": names})
    drawn = [
        references.draw_real(training, {"T2w": 2}, seed, "real-train")["scan_id"].tolist()
        for seed in range(40)
    ]
    assert all(len(set(each)) == 2 for each in drawn)
    assert {name for each in drawn for name in each} == set(names)
    few = references.draw_real(training, {"T2w": 4, "FLAIR": 1}, 1, "real-train")
    assert few["scan_id"].tolist() == names


def test_reconstructions_are_the_test_scans_through_the_compressor(
    study: Path, tmp_path: Path
) -> None:
    rows = run_shards(study, tmp_path / "out", 1, kind="reconstruction")
    volumes = read_table(study / "volumes.tsv").set_index("scan_id")["path"]
    assert len(rows) == 4
    for name, _, path, _, scale in rows:
        wanted = load_standardised(volumes[name], VOLUME)[0]  # the Haar transform loses nothing
        np.testing.assert_allclose(nib.load(path).get_fdata(), wanted, atol=1e-5)
        told = sidecar_of(path)
        assert told["Synthetic"] is False and told["Sources"] == [volumes[name]]
        assert scale == "unit" and "desc-reconstruction" in path
        assert nib.load(path).header["descrip"].tobytes().startswith(b"REFERENCE")


def test_the_mean_of_a_modality_is_written_once_and_listed_for_every_scan(
    study: Path, tmp_path: Path
) -> None:
    rows = run_shards(study, tmp_path / "out", 1, kind="mean")
    means = read_means(study / "means.safetensors")
    assert len(rows) == 4 == len(list((tmp_path / "out").rglob("*.nii.gz")))
    for _, modality, path, _, scale in rows:
        np.testing.assert_array_equal(nib.load(path).get_fdata(dtype="f4"), means[modality][0])
        assert sidecar_of(path)["Synthetic"] is False and scale == "unit"


def test_metadata_that_the_schema_does_not_know_is_told(generator: LatentDiffusion) -> None:
    request = Request("a", "T1w", {"sex": "maybe"})
    with pytest.raises(UserError, match="sex is in no known spelling"):
        made(generator, [request])
    with pytest.raises(UserError, match="sex is in no known spelling"):
        sidecar(request, {}, CODE)
    assert "sex" in load_schema().names


def test_finished_volumes_are_written_once_each(study: Path, tmp_path: Path) -> None:
    """Two files of one name in two folders; the sidecar claims nothing that nobody checked."""
    lines = ["modality\tpath"]
    for value, place in enumerate(("a", "b"), start=1):
        volume = np.full((4, 5, 6), float(value), np.float32)
        volume[0, 0, 0] = 0
        (tmp_path / place).mkdir()
        nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2, 2, 1])), tmp_path / place / "x.nii")
        lines.append(f"T1w\t{place}/x.nii")
    table = tmp_path / "table.tsv"
    table.write_text("\n".join(lines) + "\n")
    made = {"kind": "folder", "table": str(table)}
    settings = parsed({"seed": 7, "generator": "t", "made": made})
    tables = [study / f"{name}.tsv" for name in ("scans", "splits", "volumes")]
    found = []
    for shard in range(2):
        file = tmp_path / "made" / f"shard-{shard:04d}-of-0002.tsv"
        sample_test.run(settings, *tables, shard, 2, file, source=table)
        found += read_table(file)["path"].tolist()
    assert sorted(float(nib.load(path).get_fdata().max()) for path in found) == [1.0, 2.0]
    told = json.loads(Path(found[0].replace(".nii.gz", ".json")).read_text())
    assert told["Synthetic"] is True and "SkullStripped" not in told and "Space" not in told
    assert told["SourceSHA256"] and told["Sources"][0].endswith("x.nii")
