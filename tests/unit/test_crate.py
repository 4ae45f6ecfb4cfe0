"""The crate: the package opens it, and the profiles' validator accepts it, without a network."""

import json
import zipfile
from importlib import resources
from pathlib import Path

import pytest
import requests
from rocrate.rocrate import ROCrate
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings

from tests.unit import small_study as small
from wfdm.errors import UserError
from wfdm.provenance.digests import sha256_of
from wfdm.stages import crate as stage

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "provenance-run-crate-0.5"  # with those that it builds upon, which are tested too
UPON = {"ro-crate-1.1", "workflow-ro-crate-1.0", "process-run-crate-0.5", "workflow-run-crate-0.5"}
BIOSCHEMAS = {  # where version 1.1 of the context differs from what the package holds
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A small study in a checkout; the tests stand there."""
    folder = small.stand_in_it(tmp_path, monkeypatch)
    for name in ("Snakefile", "workflow/rules/data.smk", "envs/constraints.txt", "LICENSE"):
        small.put(name)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    """The validator resolves contexts from what is installed; anything else is an error."""
    text = resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_text("utf8")
    context = json.dumps({"@context": json.loads(text)["@context"] | BIOSCHEMAS})

    def send(_: requests.Session, request: requests.PreparedRequest, **__: object):
        assert request.url == CONTEXT, request.url
        answer = requests.Response()
        answer.status_code, answer.url, answer._content = 200, request.url, context.encode()
        answer.headers["Content-Type"] = "application/ld+json"
        return answer

    monkeypatch.setattr(requests.Session, "send", send)


def issues(path: Path) -> list[str]:
    """What the validator finds wrong at the level REQUIRED, by the profile that says so."""
    settings = ValidationSettings(
        rocrate_uri=str(path),
        profile_identifier=PROFILE,
        requirement_severity=Severity.REQUIRED,
        no_cache=True,
    )
    result = services.validate(settings)
    assert {each.identifier for each in result.context.profiles} == UPON | {PROFILE}
    return [f"{each.check.requirement.profile.identifier}: {each}" for each in result.get_issues()]


def test_the_validator_accepts_it_and_not_anything(study, tmp_path, no_network):
    out = tmp_path / "crate"
    stage.run(Path(small.ROOT), out)
    assert not issues(out)
    metadata = out / "ro-crate-metadata.json"
    content = json.loads(metadata.read_text())
    for each in content["@graph"]:
        if each["@type"] == "CreateAction":
            del each["instrument"]
    metadata.write_text(json.dumps(content))
    named = {issue.partition(":")[0] for issue in issues(out)}
    assert {"process-run-crate-0.5", "workflow-run-crate-0.5"} <= named


def test_the_package_reads_every_action_with_its_files(study, tmp_path):
    out = tmp_path / "crate.zip"
    stage.run(Path(small.TABLE), out, "https://creativecommons.org/licenses/by/4.0/")
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path / "read")
    crate = ROCrate(tmp_path / "read")
    assert crate.license.id == "https://creativecommons.org/licenses/by/4.0/"
    assert crate.mainEntity.id == "Snakefile"
    actions = {each.get("name"): each for each in crate.get_by_type("CreateAction")}
    assert len(actions) == 10, "nine records, and the run of the workflow"
    sampled = actions[f"sample-test: {small.ROOT}/samples/g/shard-0000-of-0001.tsv"]
    assert sampled["instrument"].get("name") == "wfdm sample-test"
    made = {each["name"]: each["sha256"] for each in sampled["result"]}
    assert made == {
        name: sha256_of(name)
        for _, _, outputs, _ in small.STEPS
        for name in outputs
        if name in made
    }
    assert f"{small.SAMPLE}.json" in made and sampled["startTime"] <= sampled["endTime"]
    read = {each["name"] for each in actions[f"preprocess: {small.SESSION}_T1w.json"]["object"]}
    assert read == {small.RAW, "lab/sub-2_T1w.nii.gz"}


def test_it_holds_tables_records_and_workflow_but_no_scan(study, tmp_path):
    out = tmp_path / "crate"
    stage.run(Path(small.ROOT), out)
    held = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {small.TABLE, f"{small.ROOT}/figures/figure3.png", "Snakefile"} <= held
    assert {f"{small.ROOT}/study.yaml", "workflow/rules/data.smk", "LICENSE"} <= held
    for name in held - {"ro-crate-metadata.json"}:
        assert sha256_of(out / name) == sha256_of(name), name
    kinds = (".nii.gz", ".safetensors", ".npy")
    assert not [name for name in held if name.endswith(kinds)]
    assert len([name for name in held if name.endswith(".prov.json")]) == 11


def test_nothing_from_elsewhere_is_copied(study, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("not yours")
    for name in (small.TABLE, "workflow/rules/data.smk"):
        Path(name).unlink()
        Path(name).symlink_to(secret)
    small.step(*small.STEPS[-2])
    secret.write_text(f"{small.TABLE}\n")
    stage.run(Path(small.ROOT), tmp_path / "crate")
    held = [path.name for path in (tmp_path / "crate").rglob("*")]
    assert not {"table4.csv", "secret.csv", "data.smk"} & set(held)


def test_bad_requests_write_nothing(study, tmp_path):
    table, out = Path(small.TABLE), tmp_path / "out" / "crate.zip"
    with pytest.raises(UserError, match="lies among the results"):
        stage.run(table, Path(small.ROOT) / "crate")
    Path(small.MODEL).write_text("changed")
    with pytest.raises(UserError, match=rf"^crate: {small.MODEL} has sha256"):
        stage.run(table, out)
    small.make()
    Path("Snakefile").unlink()
    with pytest.raises(UserError, match="Snakefile is missing"):
        stage.run(table, out)
    assert not out.parent.exists()
    out.parent.mkdir()
    out.touch()
    with pytest.raises(UserError, match="exists already"):
        stage.run(table, out)
