"""Make the samples that tell what a generator's metadata control, and list them beside real scans.

Of each noise there is a sample for each value of each field that is asked for, and one without that
field; nothing else differs between them. The other fields that are asked for are told as one test
person's, a person for each noise. Real scans are one of each person, of the training and the test
split. A volume that exists already, with exactly the sidecar that it would get, is kept.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from wfdm.config.reads import reads
from wfdm.errors import UserError
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Scans, Splits, Threads, Volumes
from wfdm.stages.inputs import device, models_behind

if TYPE_CHECKING:
    import pandas as pd

Settings = reads(
    *("seed", "{generator}", "made=generators.{generator}"),
    *(f"controllability.{{generator}}.{key}" for key in ("modality", "fields", "draws", "scans")),
)


def run(
    settings: Any,
    source: Annotated[Path, "model.safetensors of the generator's denoiser."],
    scans: Scans,
    splits: Splits,
    volumes: Volumes,
    out: Out,
    threads: Threads = 1,
    phantoms: Annotated[Path | None, "Table of phantoms whose metadata are their truth."] = None,
) -> None:
    """Write the samples, and the table of all volumes that are compared."""
    import pandas as pd

    from wfdm.data.paths import SPACE, sidecar_path, volume_name
    from wfdm.data.table import read_table, write_table
    from wfdm.data.volumes import UNIT
    from wfdm.evaluation.controls import SAMPLES, asked_for
    from wfdm.generators.order import with_age_group
    from wfdm.generators.protocol import Request
    from wfdm.generators.write import write_samples
    from wfdm.provenance.digests import sha256_of

    device(threads)
    inputs = [source, scans, splits, volumes, *([phantoms] if phantoms else [])]
    implementations = [settings.made.implementation, *models_behind(source.parent)]
    with recorded("controlled", out, settings, inputs, implementations) as record:
        real = _real(settings, scans, splits, volumes)
        module = import_module(settings.made.implementation)
        generator = module.of_row(settings.generator, settings.made, source)
        rows, requests = [], {}
        people = real[real["kind"] == "test"]
        for asked in asked_for(settings.fields, people, settings.draws, settings.seed):
            said = re.sub(r"[^A-Za-z0-9]", "", f"{asked.field}{asked.value or 'NotTold'}")
            name = volume_name(
                f"sub-{asked.draw:03d}", settings.modality, SPACE, f"synthetic{said}"
            )
            path = out.parent / "samples" / name
            # One name for all samples of a noise: the name, with the seed, is what draws it.
            noise = f"controllability {asked.draw}"
            request = Request(noise, settings.modality, asked.metadata)
            grouped = generator.age_group_from_age and "age" in asked.metadata
            requests[path] = with_age_group(request) if grouped else request
            rows.append([name.partition(".")[0], str(path), UNIT, SAMPLES, *asked.key])
        what = f"samples of {settings.generator}"
        write_samples(generator, requests, settings.seed, record.code, what)
        made = ["scan_id", "path", "range", "kind", "field", "value", "draw"]
        tables = [pd.DataFrame(rows, columns=made), real]
        tables += [read_table(phantoms)] if phantoms else []
        table = pd.concat(tables, ignore_index=True).fillna("")
        table["modality"] = settings.modality
        table["sha256"] = table["path"].map(sha256_of)
        write_table(table[[*made, "modality", "sha256"]], out)
        record.outputs = [out, *requests, *map(sidecar_path, requests)]


def _real(settings: Any, scans: Path, splits: Path, volumes: Path) -> pd.DataFrame:
    """Return a scan of each person of the training and test split, with what is recorded."""
    from wfdm.data.table import read_scans
    from wfdm.evaluation.controls import one_of_each
    from wfdm.stages.selection import split_volumes, test_scans

    table = split_volumes(volumes, splits)
    table = table[table["modality"] == settings.modality]
    if test_scans(table, splits).empty:
        raise UserError(f"{splits}: there is no test scan of {settings.modality}")
    recorded_ = read_scans(scans)[["scan_id", *settings.fields]]
    told = table[["scan_id", "person", "split", "path"]].merge(recorded_, on="scan_id")
    drawn = [
        one_of_each(told[told["split"] == split], settings.scans, settings.seed)
        for split in ("train", "test")
    ]
    import pandas as pd

    return pd.concat(drawn).rename(columns={"split": "kind"}).assign(range="")
