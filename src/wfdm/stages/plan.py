"""What the workflow asks before anything runs: settings, code, which files are there."""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from wfdm.errors import UserError, fault_of_machine
from wfdm.provenance.fingerprints import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfdm.config.compressors import CompressorSettings
    from wfdm.config.study import Study


def settings_of(study: Study, stage: str, **names: str) -> str:
    """Return the settings of a stage as one line of JSON; `names` say of which row."""
    module = import_module(f"wfdm.stages.{stage}")
    return module.Settings.of(study, **names).model_dump_json()


def numbers_of(study: Study, stage: str) -> str:
    """Return those settings of a stage that can change a number, as one line of JSON."""
    settings = import_module(f"wfdm.stages.{stage}").Settings.of(study)
    return json.dumps(settings.numbers())


def code_of(stage: str, *implementations: str) -> str:
    """Return the code fingerprint of a stage that works with these implementations."""
    return fingerprint(f"wfdm.stages.{stage}", *implementations)


def checked(study: Study) -> Study:
    """Return the study; raise UserError where a network names a metadata field that is none."""
    from wfdm.data.metadata import load_schema

    for name, row in study.denoisers.items():
        key = "maps" if hasattr(row.network, "maps") else "metadata"
        fields = getattr(row.network, key)
        if fields and (unknown := [each for each in fields if each not in load_schema().names]):
            raise UserError(
                f"configuration: 'denoisers.{name}.network.{key}': no metadata field "
                f"'{unknown[0]}'; there is {', '.join(load_schema().names)}"
            )
    for name, asked in study.controllability.items():
        for field, values in asked.fields.items():
            _check_values(f"configuration: 'controllability.{name}.fields'", field, values)
    return study


def _check_values(where: str, name: str, values: Sequence[float | str]) -> None:
    """Raise UserError for a metadata field that is none, or a value that it does not take."""
    from wfdm.data.metadata import canonical, load_schema

    known = {each.name: each for each in load_schema().fields}
    if name not in known:
        raise UserError(f"{where}: no metadata field '{name}'; there is {', '.join(known)}")
    told = [canonical(known[name], value, where) for value in values]
    if "" in told or len(set(told)) < len(told):
        raise UserError(f"{where}: {name}: each value must say something, and another thing")


def mark_root(study: Study) -> None:
    """Write the study's configuration into its results root, by which audits know the root.

    Raises:
        UserError: the disk is full or read-only, or this user may not write there.
    """
    from wfdm.config.document import whole_yaml
    from wfdm.provenance.roots import mark

    root = Path(study.results)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass  # it may be marked already; what Snakemake itself cannot write is a stack of lines
        mark(root, whole_yaml(study), study.model_dump(mode="json"))
    except OSError as error:
        if told := fault_of_machine(error):
            raise UserError(told) from None
        raise


def placed(study: Study) -> tuple[Mapping[str, CompressorSettings], dict[str, str]]:
    """Return the compressors that can be used, and {name: missing file} of the others.

    Rows of table 3 with published weights are optional: without the file the row is left out.
    """
    from wfdm.data.assets import find

    absent = {
        name: path
        for name, compressor in study.compressors.items()
        if compressor.pretrained
        and not Path(path := f"{study.assets}/{find(compressor.pretrained).file}").is_file()
    }
    present = {name: row for name, row in study.compressors.items() if name not in absent}
    return present, absent


def unplaced(study: Study) -> dict[str, str]:
    """Return {generator: missing file or folder} of the published systems that cannot run here.

    They are rows of table 4, and optional too.
    """
    from wfdm.config.baselines import PublishedSystem
    from wfdm.data.assets import find

    systems = {
        name: [*(f"{study.assets}/{find(each).file}" for each in row.assets), *row.needs]
        for name, row in study.generators.items()
        if isinstance(row, PublishedSystem)
    }
    missing = {
        name: [path for path in needed if not Path(path).exists()]
        for name, needed in systems.items()
    }
    return {name: paths[0] for name, paths in missing.items() if paths}


def missing_source(study: Study) -> str | None:
    """Return what to place where for the first source whose data is not there, if there is one."""
    from wfdm.config.cohort import PhantomSource

    for source in study.sources:
        if not isinstance(source, PhantomSource) and not Path(source.path).expanduser().exists():
            return (
                f"No data at {source.path}: place the raw scans there (BIDS: one dataset, or one "
                "folder per dataset) or a BrainScape checkout, or edit 'sources' in your "
                "configuration."
            )
    return None


def needs_extractor(study: Study) -> bool:
    """Return whether a source has scans whose brain has yet to be found: others have no skull."""
    return any(source.whole_heads for source in study.sources)


def listings(study: Study) -> list[str]:
    """Return a digest of what describes each source's scans, so that new data is noticed."""
    from wfdm.data.index import files_digest

    return [files_digest(source) for source in study.sources]


def raw_stamps(study: Study, scans: Path) -> dict[int, str]:
    """Return a digest per shard of its raw files (path, state, size, time) and its exclusions.

    It is one of the parameters of preprocessing, so that a changed file or exclusion makes that
    shard's job run, which then redoes what changed. Phantoms are left out: their shards are inputs.

    Raises:
        FileNotFoundError: the scan table is not made yet; Snakemake then asks again when it is.
        UserError: the exclusion file is wrong.
    """
    from wfdm.config.cohort import PhantomSource

    sources = (source for source in study.sources if isinstance(source, PhantomSource))
    phantoms = frozenset(dataset.name for source in sources for dataset in source.datasets)
    made = scans.stat().st_mtime_ns
    return _raw_stamps(scans, made, phantoms, study.quality.exclusions, study.shards)


@functools.lru_cache(maxsize=1)
def _raw_stamps(
    scans: Path, made: int, phantoms: frozenset[str], exclusions: str, shards: int
) -> dict[int, str]:
    from wfdm.data.exclusions import read_exclusions, session_of
    from wfdm.data.paths import mask_beside
    from wfdm.data.shards import shard_of
    from wfdm.data.table import IDENTITY, read_table, rows_of

    excluded = set(read_exclusions(exclusions))
    lines: dict[int, list[str]] = defaultdict(list)
    for row in rows_of(read_table(scans)[list(IDENTITY)]):
        key = session_of(row)
        shard = shard_of(key, shards)
        kept = "" if {row["scan_id"], key} & excluded else "used"
        file = "" if row["dataset"] in phantoms else _stamp(Path(row["path"]))
        mask = mask_beside(Path(row["path"])) if row["state"] == "brain" else None
        file += f" {_stamp(mask)}" if mask else ""
        lines[shard].append(f"{row['scan_id']}\t{row['path']}\t{row['state']}\t{kept}\t{file}\n")
    return {
        shard: hashlib.sha256("".join(sorted(found)).encode()).hexdigest()
        for shard, found in lines.items()
    }


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
