"""Assets: every file that is fetched rather than made, with its licence and sha256."""

import fcntl
import functools
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pydantic import Field, model_validator
from tqdm import tqdm

from wfdm.atomic import atomic_path
from wfdm.config.base import Section
from wfdm.config.files import parse, read_yaml
from wfdm.errors import UserError, fault_of_machine
from wfdm.provenance.digests import sha256_of

if TYPE_CHECKING:
    from requests import Response

REGISTRY = Path(__file__).with_name("assets.yaml")  # in a checkout also config/assets.yaml
OK, COMPLETE = 200, 416  # HTTP: the whole file comes; nothing is left from there on
CHUNK = 1 << 20  # bytes written at a time


class Asset(Section):
    """One fetched file: a web address, a member of a wheel, or words on where a person gets it.

    The checksum is sha256, or md5 where the publisher gives no other. Without any, the file cannot
    be verified and is not used until somebody who trusts a copy enters its sha256.
    """

    file: str
    what: str
    licence: str
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    url: str | None = None
    package: str | None = None
    wheel_sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    member: str | None = None
    obtain: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> "Asset":
        origins = [origin for origin in (self.url, self.package, self.obtain) if origin]
        parts = {bool(self.package), bool(self.wheel_sha256), bool(self.member)}
        if len(origins) != 1 or len(parts) != 1:
            raise ValueError("give either url, or package, wheel_sha256 and member, or obtain")
        if self.sha256 and self.md5:
            raise ValueError("give one checksum; sha256 where it is known")
        if not (self.sha256 or self.md5 or self.obtain):
            raise ValueError("what is fetched needs a checksum")
        return self

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        return str(self.url or self.package or self.obtain)

    @property
    def checksum(self) -> str:
        """The checksum with its kind, in words."""
        kinds = {"sha256": self.sha256, "md5": self.md5}
        return " ".join(f"{kind} {value}" for kind, value in kinds.items() if value) or "none"

    def agrees(self, path: Path) -> bool:
        """Whether the file has the registered checksum."""
        kind, wanted = ("md5", self.md5) if self.md5 else ("sha256", self.sha256)
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, kind).hexdigest() == wanted


@functools.cache
def load_registry(path: Path = REGISTRY) -> dict[str, Asset]:
    """Read the registry of assets, once a process."""
    entries = read_yaml(path).items()
    return {name: parse(Asset, entry, f"{path}: {name}") for name, entry in entries}


def find(name: str, registry: Path = REGISTRY) -> Asset:
    """Return the asset called `name`; raise UserError when there is none."""
    assets = load_registry(registry)
    if name not in assets:
        raise UserError(f"no asset '{name}' in {registry}: there is {', '.join(assets)}")
    return assets[name]


def verify(name: str, path: Path, registry: Path = REGISTRY) -> None:
    """Raise UserError unless `path` is there and has the registered checksum of asset `name`."""
    asset = find(name, registry)
    if not path.is_file():
        raise UserError(
            f"asset '{name}' is missing at {path}: run `wfdm asset {name} --out {path}`, or place "
            f"{asset.file} there ({asset.checksum})"
        )
    _check(name, asset, path, "remove it and fetch it again")


def retrieve(name: str, out: Path, local: Path | None = None, registry: Path = REGISTRY) -> None:
    """Bring asset `name` to `out`, verified.

    Args:
        name: name in the registry.
        out: where the file goes; kept as it is when it is there with the right checksum.
        local: a file to take instead of fetching (for machines without a network).
        registry: the registry file.

    Raises:
        UserError: when it cannot be fetched, or its checksum is wrong; `out` is then untouched.
    """
    asset = find(name, registry)
    if out.is_file() and asset.agrees(out):
        return
    if local is None and asset.obtain is not None:
        raise UserError(
            f"asset '{name}' ({asset.what}) cannot be fetched: {asset.obtain}. Place "
            f"{asset.file} at {out} (checksum: {asset.checksum})"
        )
    try:
        if local is not None:
            with atomic_path(out) as temporary:
                shutil.copyfile(local, temporary)
                _check(name, asset, temporary, f"it is not used ({local})")
        elif asset.url is not None:
            _download(name, asset, out)
        else:
            with atomic_path(out) as temporary:
                _from_package(name, asset, temporary)
                _check(name, asset, temporary, f"it is not used ({asset.origin})")
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        if fault_of_machine(error):
            raise
        reason = " ".join(str(error).split())
        raise UserError(
            f"asset '{name}' ({asset.what}) cannot be fetched from "
            f"{local or asset.origin}: {reason}. Place {asset.file} by hand at "
            f"{out} ({asset.checksum})"
        ) from error


def _check(name: str, asset: Asset, path: Path, otherwise: str) -> None:
    """Raise UserError unless the file has the registered checksum."""
    if not (asset.sha256 or asset.md5):
        raise UserError(
            f"asset '{name}' has no published checksum: if you trust this copy, write "
            f"sha256: {sha256_of(path)} into its entry of config/assets.yaml"
        )
    if not asset.agrees(path):
        raise UserError(f"asset '{name}': the checksum is not {asset.checksum}: {otherwise}")


def _download(name: str, asset: Asset, out: Path) -> None:
    """Fetch an asset to `out`, going on where an attempt that was cut off stood.

    What is fetched lies beside `out` under the name of its checksum until it is verified. The lock
    keeps a second process from writing into it.
    """
    url, checksum = str(asset.url), asset.sha256 or asset.md5
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".partial-{checksum}-{out.name}")
    with open(partial, "ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"asset '{name}': another process is fetching {out}; wait") from None
        _append_rest(url, stream)
        stream.flush()
        if not asset.agrees(partial):
            partial.unlink()
            raise UserError(
                f"asset '{name}': the checksum is not {asset.checksum}: it is not used ({url})"
            )
        partial.replace(out)


def _append_rest(url: str, stream: BinaryIO) -> None:
    """Append to `stream`, which is at its end, what of `url` is missing in it."""
    from pooch import HTTPDownloader
    from requests import HTTPError

    def start_over(answer: "Response", *_: object, **__: object) -> None:
        if answer.status_code == OK:  # the whole file: the server cannot send a part
            stream.truncate(0)

    headers = {"Range": f"bytes={stream.tell()}-", "Accept-Encoding": "identity"}
    told = url.rpartition("/")[2]
    with tqdm(desc=told, total=0, unit="B", unit_scale=True, mininterval=5) as bar:
        fetch = HTTPDownloader(bar, CHUNK, headers=headers, hooks={"response": start_over})
        try:
            fetch(url, stream, None)
        except HTTPError as error:
            if error.response is None or error.response.status_code != COMPLETE:
                raise


def _from_package(name: str, asset: Asset, target: Path) -> None:
    """Take an asset out of its wheel, which is opened once its checksum is known to be right."""
    with tempfile.TemporaryDirectory() as folder:
        # A wheel alone: to look at a source archive, pip would run what is in it.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--dest", folder, str(asset.package)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        (wheel,) = Path(folder).glob("*.whl")
        if sha256_of(wheel) != asset.wheel_sha256:
            raise UserError(f"asset '{name}': {wheel.name} is not the registered wheel: not opened")
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(str(asset.member)) as source,
            open(target, "wb") as stream,
        ):
            shutil.copyfileobj(source, stream)
