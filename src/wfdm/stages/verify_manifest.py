"""Compare the raw scans on disk with a manifest, and name each one that is not as it was.

The exit status is 1 when there is one. With the study's configuration files, which are read over
config/config.yaml, scans that the sources have now and the manifest lacks are named as new.
"""

from pathlib import Path
from typing import Annotated

from wfdm.errors import UserError
from wfdm.stages.arguments import Positional


def run(
    manifest: Annotated[Path, Positional("Manifest of a snapshot (data/manifest.tsv).")],
    configuration: Annotated[
        list[Path] | None, "A configuration file of the study; once for each, later ones win."
    ] = None,
) -> None:
    """Print a line for each raw scan that is changed, missing or new."""
    from wfdm.config.files import read_study
    from wfdm.data.index import build
    from wfdm.data.manifest import changes, read_manifest
    from wfdm.data.people import read_aliases

    then, now = read_manifest(manifest), None
    if configuration:
        study = read_study("config/config.yaml", *configuration)
        aliases = read_aliases(study.people.aliases)
        derive = study.metadata.age_group_from_age
        now = build(study.sources, study.seed, derive, f"{study.results}/raw", aliases).scans
    told = 0
    for line in changes(then, now):
        print(line, flush=True)
        told += 1
    if told:
        raise UserError(
            f"{manifest}: {told} of its raw scans are not as they were: restore them, or run "
            "`snakemake` to make again what follows from them"
        )
    print(f"{manifest}: {len(then)} raw scans are as they were")
