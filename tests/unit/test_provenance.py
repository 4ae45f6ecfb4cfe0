"""Records of runs."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from wfdm.config.cohort import SplitSettings
from wfdm.config.compressors import CompressorTraining
from wfdm.errors import UserError
from wfdm.provenance import fingerprints
from wfdm.provenance.digests import sha256_of
from wfdm.provenance.records import Run, read, record_path, recorded
from wfdm.stages import split, train_compressor

STAGE = split.Settings.model(seed=42, split=SplitSettings(), statistics="training")


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """raw.txt -> middle.txt -> end.txt, with records."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw.txt").write_text("raw")
    for source, made in (("raw.txt", "middle.txt"), ("middle.txt", "end.txt")):
        with recorded("split", tmp_path / made, STAGE, [tmp_path / source]):
            (tmp_path / made).write_text(f"from {source}")
    return tmp_path


def test_sha256_is_the_systems(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    expected = subprocess.check_output(["sha256sum", tmp_path / "x"], text=True).split()[0]
    assert sha256_of(tmp_path / "x") == expected


def test_record_tells_what_when_and_from_what(chain):
    record = read(record_path(chain / "end.txt"))
    assert record["inputs"] == {str(chain / "middle.txt"): sha256_of(chain / "middle.txt")}
    assert record["settings"] == STAGE.model_dump(mode="json")
    assert record["seed"] == 42
    assert record["code"] == fingerprints.fingerprint("wfdm.stages.split")
    assert record["environment"]["torch"].startswith("2.")
    assert len(record["environment"]["distributions"]) == 64
    body, _, end = record_path(chain / "end.txt").read_text().rpartition(',\n "seal": ')
    assert end == f'"{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'


def test_no_record_of_a_failure(tmp_path):
    with pytest.raises(RuntimeError), recorded("split", tmp_path / "x", STAGE, []):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [b"", b"from raw", b"from raw.txt and more"])
def test_an_input_that_is_not_what_was_made_is_refused(chain, left):
    (chain / "middle.txt").write_bytes(left)
    kept = (chain / "end.txt").read_bytes()
    with (
        pytest.raises(UserError, match=r"middle\.txt: is not what .*middle\.txt\.prov\.json says"),
        recorded("split", chain / "end.txt", STAGE, [chain / "middle.txt"]),
    ):
        raise AssertionError("nothing is done with it")
    assert (chain / "end.txt").read_bytes() == kept
    record_path(chain / "middle.txt").unlink()  # what the message says of a version of one's own
    with recorded("split", chain / "end.txt", STAGE, [chain / "middle.txt"]):
        pass


def test_what_was_made_beside_is_known_by_the_same_record(tmp_path):
    main, beside = tmp_path / "shard.npy", tmp_path / "shard.tsv"
    with recorded("split", main, STAGE, []) as record:
        main.write_text("numbers")
        beside.write_text("keys")
        record.outputs = [main, beside]
    beside.write_text("key")
    with (
        pytest.raises(UserError, match="remove it and run again"),
        recorded("split", tmp_path / "end", STAGE, [main, beside]),
    ):
        pass


def test_a_damaged_record_is_named(chain):
    record = record_path(chain / "middle.txt")
    record.write_text(record.read_text()[:40])
    with (
        pytest.raises(UserError, match=r"middle\.txt\.prov\.json: cut short or damaged"),
        recorded("split", chain / "end.txt", STAGE, [chain / "middle.txt"]),
    ):
        pass


def test_a_record_is_of_what_a_run_began_with(tmp_path):
    (tmp_path / "raw").write_text("before")
    before = sha256_of(tmp_path / "raw")
    with recorded("split", tmp_path / "x", STAGE, [tmp_path / "raw"]) as run:
        run.identity  # noqa: B018 (hashes the inputs)
        (tmp_path / "raw").write_text("after")
        (tmp_path / "x").write_text("x")
    assert read(record_path(tmp_path / "x"))["inputs"] == {str(tmp_path / "raw"): before}


def identity_of(settings, *inputs: Path) -> str:
    """Return the identity of a run of `settings` on `inputs`."""
    given, numbers = settings.model_dump(mode="json"), settings.numbers()
    return Run("train-compressor", given, list(inputs), numbers).identity


def test_identity_is_of_what_changes_numbers(tmp_path):
    """Not of paths, nor of keys that are marked so; of everything else, inputs' order too."""
    for name, content in (("a", "1"), ("b", "2"), ("moved", "1")):
        (tmp_path / name).write_text(content)
    a, b, moved = (tmp_path / name for name in ("a", "b", "moved"))
    plain = identity_of(CompressorTraining(), a, b)
    assert identity_of(CompressorTraining(), moved, b) == plain
    assert identity_of(CompressorTraining(checkpointing=True), a, b) == plain
    others = [{"learning_rate": 2e-4}, {"threads": 3}, {"validate_every": 7}, {"ema_decay": 0.5}]
    nested = {"adversarial": {"layers": 2}}
    found = [identity_of(CompressorTraining(**change), a, b) for change in (*others, nested)]
    found += [identity_of(CompressorTraining(), b, a), identity_of(CompressorTraining(), a)]
    assert len({plain, *found}) == len(found) + 1


def test_a_marked_key_is_left_out_inside_a_stages_settings_too():
    model = train_compressor.Settings.model
    kinds = {name: field.annotation for name, field in model.model_fields.items()}
    values = {
        "seed": 1,
        "compressor": "x",
        "volume": {},
        "architecture": {"kind": "haar", "levels": 1},
        "pretrained": None,
    }
    assert kinds.keys() == values.keys() | {"training"}
    one, other = (
        model(**values, training={"checkpointing": checkpointing}).numbers()
        for checkpointing in (False, True)
    )
    assert one == other and "checkpointing" not in one["training"]
    assert one["training"]["steps"] == CompressorTraining().steps


def test_the_record_of_installed_versions_needs_no_checkout(tmp_path):
    code = (
        "import json; from wfdm.provenance import records; "
        "print(json.dumps(records.environment()['distributions']))"
    )
    here, there = (
        subprocess.check_output([sys.executable, "-c", code], cwd=folder, text=True)
        for folder in (Path.cwd(), tmp_path)
    )
    assert here == there


def test_importing_records_is_light():
    code = "import sys, wfdm.provenance.records; print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"pydantic", "torch", "numpy", "pandas"} & set(loaded)
