"""Which scans say that they are synthetic: nobody trains a model on them unasked.

Three marks, each of which WFDM leaves on what it makes: the sidecar, the description in the image's
own header, which stays when the file is copied alone, and a keyword of its dataset.
"""

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wfdm.data.paths import sidecar_path

KEYWORD = "synthetic"
"""in `Keywords` of dataset_description.json"""
MARK = b"SYNTHETIC"
"""what the description in a NIfTI header begins with"""
_MEND = "leave it out, or say 'synthetic: true' in its source"
_HEADER = 1024  # bytes: more than the header of either NIfTI version
_PLACES = {348: slice(148, 228), 540: slice(240, 320)}
"""by the size that a header states: where its description stands"""


def refusal(path: Path) -> str:
    """Return why a scan (.nii or .nii.gz) must not be taken unasked; "" where nothing marks it.

    What cannot be read marks nothing: whoever reads the scan tells that.
    """
    beside = sidecar_path(path)
    if read_json(beside).get("Synthetic") is True:
        return f"{beside.name} says that it is synthetic: {_MEND}"
    if _description(path).upper().startswith(MARK):
        return f"the description in its header says that it is synthetic: {_MEND}"
    return ""


def dataset_refusal(about: Mapping[str, Any]) -> str:
    """Return the same of all scans of a dataset, by what its dataset_description.json holds."""
    words = about.get("Keywords")
    marked = isinstance(words, list) and KEYWORD in {str(word).lower() for word in words}
    return f"its dataset_description.json says synthetic: {_MEND}" if marked else ""


def read_json(path: Path) -> dict[str, Any]:
    """Return what a sidecar or a description holds; nothing where it cannot be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _description(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            header = file.read(_HEADER)
    except (OSError, EOFError, zlib.error):
        return b""
    sizes = (int.from_bytes(header[:4], order) for order in ("little", "big"))
    return next((header[_PLACES[size]] for size in sizes if size in _PLACES), b"")
