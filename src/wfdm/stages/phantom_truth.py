"""Make the phantoms that tell the truth about age and sex: the same people at every asked value.

They are seen without a scanner: no noise, no pose, no bias. As samples of a generator do, they
differ in nothing but the value. Only age and sex change a phantom; other fields have no truth.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out
from wfdm.stages.inputs import verified

Settings = reads(
    *("seed", "sources", "volume", "preprocess.spacing", "controllability.{generator}.fields")
)
PEOPLE = 4
AGE, SEX = 50.0, "female"
"""of a phantom whose other field varies"""


def run(
    settings: Any,
    template: Annotated[list[Path], "The template's whole head, then its brain."],
    out: Out,
) -> None:
    """Write the volumes, and a table of them."""
    import pandas as pd

    from wfdm.data.paths import SPACE, volume_name
    from wfdm.data.table import write_table
    from wfdm.data.volumes import model_affine, write_nifti
    from wfdm.evaluation.controls import TRUTH
    from wfdm.phantom.anatomy import load_template
    from wfdm.phantom.truth import person, seen

    source = next(each for each in settings.sources if each.kind == "phantom")
    verified([source.template, source.brain], template)
    with recorded("phantom-truth", out, settings, template) as record:
        head = load_template(*template)
        shape, rows = settings.volume.shape, []
        for name in (each for each in settings.fields if each in ("age", "sex")):
            for value in settings.fields[name]:
                for number in range(PEOPLE):
                    told = {"age": AGE, "sex": SEX, name: value}
                    who = person(head, settings.seed, number, told["age"], told["sex"] == "male")
                    image = seen(head, who, shape, settings.spacing)
                    said = f"truth{name}{value}".replace(".", "p")
                    path = (
                        out.parent / "phantoms" / volume_name(f"sub-{number}", "T1w", SPACE, said)
                    )
                    write_nifti(path, image, model_affine(shape, settings.spacing), b"PHANTOM")
                    row = [f"{path.name.partition('.')[0]}", str(path), "", TRUTH, name]
                    rows.append([*row, f"{value:g}" if name == "age" else value, str(number)])
        columns = ["scan_id", "path", "range", "kind", "field", "value", "draw"]
        write_table(pd.DataFrame(rows, columns=columns), out)
        record.outputs = [out, *(Path(row[1]) for row in rows)]
