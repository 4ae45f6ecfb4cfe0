"""Walk from a file, or from all files of a study, back to the raw scans; verify every digest.

The results root is the nearest folder above with `study.yaml`. Each error is one line that names
the file or the record, and the exit status is then 1.
"""

import sys
from pathlib import Path
from typing import Annotated

from wfdm.errors import UserError, one_line
from wfdm.stages.arguments import Positional


def run(
    artefact: Annotated[Path, Positional("A file that the pipeline made, or a results folder.")],
    root: Annotated[Path | None, "Results root, where no folder above holds study.yaml."] = None,
    json: Annotated[bool, "Print JSON, not a tree."] = False,
) -> None:
    """Print the chain of records."""
    from wfdm.provenance.audit import Audit
    from wfdm.provenance.show import as_json, tree

    audit = Audit(root, wrong_asset)
    found = audit.of(artefact)
    for line in [as_json(audit, found)] if json else tree(audit, found):
        print(line)
    if found.problems:
        *lines, last = (f"audit: {audit.told(each.path)} {each.what}" for each in found.problems)
        for line in lines:
            print(f"wfdm: {one_line(line)}", file=sys.stderr)
        raise UserError(last)
    if not json:
        print(f"verified: {len(found.artefacts)} artefacts made from {len(found.sources)} sources")
        print(f"chain: sha256 {found.chain} over {len(found.records)} records")
        for note in found.notes:
            print(f"note: {note}")


def wrong_asset(path: Path, digest: str) -> str | None:
    """Return what is wrong with a source that has the name of a registered asset, if anything."""
    from wfdm.data.assets import load_registry

    for name, asset in load_registry().items():
        if asset.file == path.name and (asset.sha256 or asset.md5):
            if digest == asset.sha256 or (asset.md5 and asset.agrees(path)):
                return None
            return f"is not asset '{name}' of config/assets.yaml ({asset.checksum})"
    return None
