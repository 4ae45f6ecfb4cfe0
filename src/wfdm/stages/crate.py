"""Write a study, or what one file comes from, as a Workflow Run RO-Crate, for others to read.

Everything is verified first, as `wfdm audit` does. The crate holds tables, figures, provenance
records, the configuration and the workflow. Other files, scans and volumes above all, are named
with their size and sha256 and not copied; but records name the scans that were read.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from wfdm.errors import UserError
from wfdm.stages.arguments import Positional

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate


def run(
    artefact: Annotated[Path, Positional("A results folder, or a file of one, such as a table.")],
    out: Annotated[Path, "Folder or .zip to make, outside of the results."],
    licence: Annotated[str | None, "Address of the licence of the results."] = None,
    root: Annotated[Path | None, "Results root, where no folder above holds study.yaml."] = None,
) -> None:
    """Write the crate."""
    from wfdm.provenance.audit import Audit
    from wfdm.provenance.crate import build
    from wfdm.stages.audit import wrong_asset

    if out.exists():
        raise UserError(f"crate: {out} exists already: remove it, or give another --out")
    audit = Audit(root, wrong_asset)
    study = audit.index_of(artefact).root
    if study.holds(str(out.resolve())):
        raise UserError(f"crate: {out} lies among the results: give an --out elsewhere")
    found = audit.of(artefact)
    if found.problems:
        first, more = found.problems[0], len(found.problems) - 1
        rest = f"; {more} more: see `wfdm audit {artefact}`" if more else ""
        raise UserError(f"crate: {audit.told(first.path)} {first.what}{rest}")
    crate = build(found, study, licence)
    _write(crate, out)
    print(f"{out}: {len(found.records)} records, {len(found.artefacts)} artefacts")


def _write(crate: "ROCrate", out: Path) -> None:
    """Write the crate whole or not at all."""
    import tempfile

    from wfdm.atomic import atomic_path

    if out.suffix == ".zip":
        with atomic_path(out) as temporary:
            crate.write_zip(temporary)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out.parent) as folder:
        crate.write(Path(folder) / out.name)
        (Path(folder) / out.name).rename(out)
