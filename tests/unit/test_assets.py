"""Assets: verified or not used; nothing is half-written."""

import hashlib

import pytest
import yaml

from wfdm.data.assets import find, load_registry, retrieve, verify
from wfdm.errors import UserError


@pytest.fixture
def registry(tmp_path):
    source = tmp_path / "weights.bin"
    source.write_bytes(b"the weights")
    entry = {
        "file": "weights.bin",
        "what": "weights",
        "licence": "CC0",
        "url": source.as_uri(),
        "sha256": hashlib.sha256(b"the weights").hexdigest(),
    }
    path = tmp_path / "assets.yaml"
    path.write_text(yaml.safe_dump({"weights": entry}))
    return path


def test_every_registered_asset_has_an_origin_and_a_licence():
    assets = load_registry()
    assert {"sri24", "sri24-head", "medicalnet-resnet50"} <= assets.keys()
    assert all(asset.licence and asset.origin for asset in assets.values())


def test_medicalnet_checksum_is_the_one_medmetric_publishes():
    from importlib.resources import files

    manifest = (files("medmetric") / "weights" / "medicalnet.yaml").read_text()
    for name in ("medicalnet-resnet10", "medicalnet-resnet50"):
        assert find(name).sha256 in manifest


def test_retrieved_and_verified(registry, tmp_path):
    out = tmp_path / "assets" / "weights.bin"
    retrieve("weights", out, registry=registry)
    assert out.read_bytes() == b"the weights"
    verify("weights", out, registry)


def test_a_file_placed_by_hand_is_kept(registry, tmp_path):
    out = tmp_path / "here.bin"
    out.write_bytes(b"the weights")
    (tmp_path / "weights.bin").unlink()  # so fetching would fail
    retrieve("weights", out, registry=registry)


def test_wrong_bytes_are_not_used(registry, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"others")
    out = tmp_path / "out" / "weights.bin"
    with pytest.raises(UserError, match="it is not used"):
        retrieve("weights", out, registry=registry)
    assert list(out.parent.iterdir()) == []


def test_unreachable_says_where_to_place_the_file(registry, tmp_path):
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(UserError, match="by hand at") as caught:
        retrieve("weights", tmp_path / "out.bin", registry=registry)
    assert "\n" not in str(caught.value)


def test_a_local_file_serves_as_source(registry, tmp_path):
    local = tmp_path / "copy.bin"
    local.write_bytes(b"the weights")
    retrieve("weights", tmp_path / "out.bin", local, registry)
    assert (tmp_path / "out.bin").read_bytes() == b"the weights"


def test_without_a_checksum_nothing_is_used_and_an_md5_is_one(tmp_path):
    copy = tmp_path / "copy.bin"
    copy.write_bytes(b"the weights")
    common = {"file": "weights.bin", "what": "weights", "licence": "CC0"}
    entries = {
        "by-hand": common | {"obtain": "ask the authors"},
        "old": common | {"md5": hashlib.md5(b"the weights").hexdigest(), "url": copy.as_uri()},
    }
    registry, out = tmp_path / "assets.yaml", tmp_path / "out.bin"
    registry.write_text(yaml.safe_dump(entries))
    with pytest.raises(UserError, match="cannot be fetched: ask the authors"):
        retrieve("by-hand", out, registry=registry)
    digest = hashlib.sha256(b"the weights").hexdigest()
    with pytest.raises(UserError, match=f"no published checksum: .* sha256: {digest}"):
        retrieve("by-hand", out, copy, registry)
    assert not out.exists()
    retrieve("old", out, registry=registry)
    verify("old", out, registry)
    out.write_bytes(b"others")
    with pytest.raises(UserError, match="the checksum is not md5"):
        verify("old", out, registry)


def test_missing_and_altered_assets_are_told_apart(registry, tmp_path):
    with pytest.raises(UserError, match="is missing at"):
        verify("weights", tmp_path / "none.bin", registry)
    (tmp_path / "bad.bin").write_bytes(b"bad")
    with pytest.raises(UserError, match="not "):
        verify("weights", tmp_path / "bad.bin", registry)
    with pytest.raises(UserError, match="no asset 'nope'"):
        find("nope", registry)
