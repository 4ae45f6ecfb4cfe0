"""Assets: verified or not used; nothing is half-written."""

import fcntl
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import yaml

from wfdm.data import assets
from wfdm.data.assets import find, load_registry, retrieve, verify
from wfdm.errors import UserError

CONTENT = b"the weights"


class Server(ThreadingHTTPServer):
    """Serves `content`; notes what was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.parts, self.cut_at, self.asked = CONTENT, True, None, []
        self.url = f"http://127.0.0.1:{self.server_port}/weights.bin"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if server.parts else 0
        if server.content is None or start >= len(server.content):
            self.send_error(404 if server.content is None else 416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_at])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(assets, "CHUNK", 2)  # what is lost of a download that breaks off
    server = Server()
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def registry(tmp_path, server):
    entry = {
        "file": "weights.bin",
        "what": "weights",
        "licence": "CC0",
        "url": server.url,
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    path = tmp_path / "assets.yaml"
    path.write_text(yaml.safe_dump({"weights": entry}))
    return path


def test_every_registered_asset_has_an_origin_and_a_licence():
    every = load_registry()
    assert {"sri24", "sri24-head", "medicalnet-resnet50"} <= every.keys()
    assert all(asset.licence and asset.origin for asset in every.values())


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


def test_a_file_placed_by_hand_is_kept(registry, server, tmp_path):
    out = tmp_path / "here.bin"
    out.write_bytes(b"the weights")
    retrieve("weights", out, registry=registry)
    assert server.asked == []


@pytest.mark.parametrize("parts", [True, False])
def test_a_download_that_was_cut_off_goes_on(registry, server, tmp_path, parts):
    out = tmp_path / "out" / "weights.bin"
    server.cut_at = 4
    with pytest.raises(UserError, match="cannot be fetched"):
        retrieve("weights", out, registry=registry)
    assert not out.exists()
    server.cut_at, server.parts = None, parts  # a server may know no ranges
    retrieve("weights", out, registry=registry)
    assert out.read_bytes() == CONTENT
    assert server.asked == ["bytes=0-", "bytes=4-"]
    assert list(out.parent.iterdir()) == [out]


def test_what_was_fetched_whole_is_only_verified(registry, server, tmp_path):
    out = tmp_path / "out" / "weights.bin"
    server.cut_at = 4
    with pytest.raises(UserError):
        retrieve("weights", out, registry=registry)
    (partial,) = out.parent.iterdir()
    partial.write_bytes(CONTENT)  # as after a kill between the last byte and the renaming
    retrieve("weights", out, registry=registry)
    assert out.read_bytes() == CONTENT


def test_a_second_process_does_not_write_into_the_same_download(registry, server, tmp_path):
    out = tmp_path / "out" / "weights.bin"
    server.cut_at = 4
    with pytest.raises(UserError):
        retrieve("weights", out, registry=registry)
    (partial,) = out.parent.iterdir()
    with open(partial, "ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is fetching"):
            retrieve("weights", out, registry=registry)
    assert partial.read_bytes() == CONTENT[:4]


def test_the_registry_is_read_once(registry):
    assert find("weights", registry) is find("weights", registry)


def test_wrong_bytes_are_not_used(registry, server, tmp_path):
    server.content = b"others"
    out = tmp_path / "out" / "weights.bin"
    with pytest.raises(UserError, match="it is not used"):
        retrieve("weights", out, registry=registry)
    assert list(out.parent.iterdir()) == []


def test_unreachable_says_where_to_place_the_file(registry, server, tmp_path):
    server.content = None
    with pytest.raises(UserError, match="by hand at") as caught:
        retrieve("weights", tmp_path / "out.bin", registry=registry)
    assert "\n" not in str(caught.value)


def test_a_local_file_serves_as_source(registry, tmp_path):
    local = tmp_path / "copy.bin"
    local.write_bytes(b"the weights")
    retrieve("weights", tmp_path / "out.bin", local, registry)
    assert (tmp_path / "out.bin").read_bytes() == b"the weights"


def test_without_a_checksum_nothing_is_used_and_an_md5_is_one(server, tmp_path):
    copy = tmp_path / "copy.bin"
    copy.write_bytes(b"the weights")
    common = {"file": "weights.bin", "what": "weights", "licence": "CC0"}
    entries = {
        "by-hand": common | {"obtain": "ask the authors"},
        "old": common | {"md5": hashlib.md5(CONTENT).hexdigest(), "url": server.url},
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
