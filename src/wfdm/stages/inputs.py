"""What several stages do with their arguments before they work: read, check, and name models.

Nothing here decides a number, and no code fingerprint holds it; which scans a stage works on is
decided in `wfdm.stages.selection`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wfdm.accelerator import accelerator
from wfdm.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return {name: value} from NAME=VALUE texts; raise UserError for one that is neither."""
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name or not value:
            raise UserError(f"'{text}' must have the form NAME=VALUE")
        if name in found:
            raise UserError(f"'{name}' is given twice: {found[name]} and {value}")
        found[name] = value
    return found


def paths(texts: Sequence[str]) -> dict[str, Path]:
    """Return {name: path} from NAME=PATH texts; raise UserError for one that is neither."""
    return {name: Path(path) for name, path in pairs(texts).items()}


def metadata_of(age: float | None, sex: str | None, fields: Sequence[str]) -> dict[str, str]:
    """Return {field: value} of what is asked for.

    Raises UserError for a field given twice or without a value, or that the schema does not know,
    and for a value that the field does not take.
    """
    from wfdm.data.metadata import canonical, load_schema

    own = [] if age is None else [f"age={age:g}"]
    own += [] if sex is None else [f"sex={sex}"]
    metadata = pairs([*own, *fields])
    known = {each.name: each for each in load_schema().fields}
    for name, value in metadata.items():
        if name not in known:
            raise UserError(f"no metadata field '{name}'; there is {', '.join(known)}")
        # What is asked for is of no person, so the message may tell it.
        shown = value if known[name].kind == "numeric" else f"'{value}'"
        metadata[name] = canonical(known[name], value, f"{name} is {shown}")
    return metadata


def labels(texts: Sequence[str] | None, names: Iterable[str]) -> dict[str, str]:
    """Return what each of `names` is called: as NAME=LABEL texts say, by default as its name.

    Raises UserError for a text of another form, a label of something else, or of two names.
    """
    given = pairs(texts or [])
    called = {name: given.pop(name, name) for name in names}
    for name in given:
        raise UserError(f"label of '{name}': there is {', '.join(called) or 'nothing to label'}")
    for label in called.values():
        if (twice := [name for name in called if called[name] == label])[1:]:
            raise UserError(f"'{label}' is the label of {' and '.join(twice)}; give each its own")
    return called


def verified(assets: Sequence[str], files: Sequence[Path] | None) -> list[Path]:
    """Return the files, once each is known to be the asset that the settings name for it.

    Raises UserError for another number of files, a missing one, or a wrong checksum.
    """
    from wfdm.data.assets import verify

    given = list(files or [])
    if len(assets) != len(given):
        raise UserError(
            f"the settings name {len(assets)} assets ({', '.join(assets) or 'none'}), but "
            f"{len(given)} files are given"
        )
    for name, path in zip(assets, given, strict=True):
        verify(name, path)
    return given


def present(path: str | None) -> list[Path]:
    """Return a file that need not be there, as a list: empty where it is not."""
    return [Path(path)] if path and Path(path).is_file() else []


def weights_of(start: Path | None) -> Path | None:
    """Return the file of the weights that a training starts from, if any.

    Raises UserError where it does not exist.
    """
    if start is None:
        return None
    file = start / "model.safetensors" if start.is_dir() else start
    if not file.is_file():
        raise UserError(f"{file} is missing: name a trained model's folder or a safetensors file")
    return file


def device(threads: int) -> torch.device:
    """Fix the number of CPU threads of torch and return where its work goes: a GPU if any."""
    import torch

    torch.set_num_threads(threads)
    return accelerator()


def architecture_of(compressor: Path) -> str:
    """Return the implementation of the compressor whose model.safetensors is given."""
    from wfdm.config.compressors import read_architecture

    return read_architecture(compressor.parent).implementation


def files_of(denoiser: Path) -> list[Path]:
    """Return the files of a trained denoiser that its answers depend on, given its weights."""
    from wfdm.latents.standard import FILE

    return [denoiser, *map(denoiser.with_name, ("config.json", FILE))]


def networks_of(denoiser: Path) -> list[str]:
    """Return the implementations of a trained denoiser's network and process, given its folder.

    Raises UserError where the folder holds no denoiser.
    """
    from wfdm.models.denoisers.folder import read_config

    config = read_config(denoiser)
    return [config["network"].implementation, config["process"].implementation]


def models_behind(denoiser: Path) -> list[str]:
    """Return the implementations behind a trained denoiser, given its folder.

    They are its network's, its process's and its compressor's. Raises UserError where the folder
    holds no denoiser, or its compressor is missing.
    """
    from wfdm.config.compressors import read_architecture
    from wfdm.latents.space import LatentSpace
    from wfdm.models.denoisers.folder import read_config

    config = read_config(denoiser)
    space = LatentSpace.from_dict(config["latent_space"], denoiser)
    return [read_architecture(Path(space.compressor)).implementation, *networks_of(denoiser)]
