"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from wfdm.config.data import Modality
from wfdm.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Settings = Annotated[str, typer.Option(help="The stage's settings: JSON, or a JSON file.")]
Scans = Annotated[Path, typer.Option(help="Scan table (data/scans.tsv).")]
Splits = Annotated[Path, typer.Option(help="Split table (data/splits.tsv).")]
Volumes = Annotated[Path, typer.Option(help="Table of volumes: scan_id, modality, path, sha256.")]
Out = Annotated[Path, typer.Option(help="The file to make.")]
Record = Annotated[Path, typer.Option(help="Provenance record to write, beside the volumes.")]
Scan = Annotated[list[str], typer.Option(help="MODALITY=PATH; once for each scan.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads; results may differ by it.")]
Shard = Annotated[int, typer.Option(min=0, help="Number of this shard, from 0.")]
Shards = Annotated[int, typer.Option(min=1, help="Number of shards in all.")]
Row = Annotated[list[str], typer.Option(help="LABEL=FILE; once for each row.")]
Column = Annotated[list[str], typer.Option(help="LABEL=FILE; once for each column.")]
Lpips = Annotated[list[Path] | None, typer.Option(help="Backbone of LPIPS, then its heads.")]
Published = Annotated[Path, typer.Option(help="The paper's table, as CSV.")]


def pairs(texts: list[str]) -> dict[str, Path]:
    """Return {name: path} from NAME=PATH texts; raise UserError for one that is neither."""
    found: dict[str, Path] = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator or not name or not path:
            raise UserError(f"'{text}' must have the form NAME=PATH")
        if name in found:
            raise UserError(f"'{name}' is given twice: {found[name]} and {path}")
        found[name] = Path(path)
    return found


def check_modality(name: str) -> Modality:
    """Return `name`, a modality; raise UserError for another word."""
    if name not in get_args(Modality):
        raise UserError(f"unknown modality '{name}': use {', '.join(get_args(Modality))}")
    return cast(Modality, name)


def check_state(name: str) -> str:
    """Return `name`, a state of the scan table; raise UserError for another word."""
    from wfdm.data.table import STATES

    if name not in STATES:
        raise UserError(f"unknown state '{name}': use {', '.join(STATES)}")
    return name


def modality_paths(texts: list[str]) -> dict[Modality, Path]:
    """Return {modality: path} from MODALITY=PATH texts; raise UserError for another modality."""
    return {check_modality(name): path for name, path in pairs(texts).items()}


def verified(assets: list[str], files: list[Path] | None) -> list[Path]:
    """Return the files, once each is known to be the asset that the settings name for it.

    Raises UserError for another number of files, a missing one, or a wrong checksum.
    """
    from wfdm.data.assets import verify

    given = files or []
    if len(assets) != len(given):
        raise UserError(
            f"the settings name {len(assets)} assets ({', '.join(assets) or 'none'}), but "
            f"{len(given)} files are given"
        )
    for name, path in zip(assets, given, strict=True):
        verify(name, path)
    return given


def device(threads: int) -> str:
    """Fix the number of CPU threads of torch and return where its work goes: a GPU if any."""
    import torch

    torch.set_num_threads(threads)
    return "cuda" if torch.cuda.is_available() else "cpu"


def split_volumes(volumes: Path, splits: Path) -> pd.DataFrame:
    """Return the table of volumes with each one's person and split."""
    from wfdm.data.split import read_splits
    from wfdm.data.table import read_table, with_split

    return with_split(read_table(volumes), read_splits(splits))
