"""Table 2 of the paper: what the compared synthesis models are, out of this study's settings.

The modalities of a model are those that it was trained on.
"""

from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Label, Out, Published
from wfdm.stages.inputs import labels, pairs, paths

Settings = reads("sources", "generators", "denoisers", "distilled")


def run(
    settings: Any,
    published: Published,
    out: Out,
    row: Annotated[
        list[str] | None,
        "NAME=FILE of a generator: config.json of what is trained for it, or its table; once for "
        "each.",
    ] = None,
    label: Label = None,
    latents: Annotated[
        list[str] | None, "NAME=LABEL of the compressor whose latents a generator models."
    ] = None,
    domain: Annotated[
        list[str] | None, "NAME=WORDS of a generator that works in no latents but in these."
    ] = None,
) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    from wfdm.tables.systems import described
    from wfdm.tables.table2 import table2
    from wfdm.tables.written import write_table

    files = paths(row or [])
    names, compressors = labels(label, files), pairs(latents or [])
    domains = pairs(domain or [])
    with recorded("table2", out, settings, [*files.values(), published]) as record:
        record.settings |= {"labels": names, "latents": compressors, "domains": domains}
        systems = {
            name: {
                "Model": names[name],
                **described(
                    settings,
                    settings.generators[name],
                    path,
                    compressors.get(name, ""),
                    domains.get(name, ""),
                ),
            }
            for name, path in files.items()
        }
        record.outputs = write_table(table2(systems, published), out)
