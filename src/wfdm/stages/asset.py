"""Retrieve an asset and verify its checksum.

Assets are what is fetched rather than made: atlases, published weights. `config/assets.yaml` holds
the address, licence and sha256 of each; a file placed by hand is verified the same way.
"""

from pathlib import Path
from typing import Annotated

from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Out, Positional


def run(
    name: Annotated[str, Positional("Name in config/assets.yaml.")],
    out: Out,
    file: Annotated[Path | None, "Take this file instead of fetching."] = None,
) -> None:
    """Bring asset `name` to `out`."""
    from wfdm.data.assets import retrieve

    with recorded("asset", out, None, []) as record:
        record.settings = {"name": name}
        retrieve(name, out, file)
