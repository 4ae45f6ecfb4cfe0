"""Synthetic volumes on disk: NIfTI with a BIDS sidecar that says what they are."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wfdm.atomic import alone, write_text
from wfdm.data.metadata import canonical, load_schema
from wfdm.data.paths import REFERENCE, sidecar_path
from wfdm.data.synthetic import MARK
from wfdm.data.volumes import write_nifti
from wfdm.generators.protocol import Generator, Request, Sample
from wfdm.log import progress

DESCRIPTION = {True: MARK + b": made by WFDM", False: b"REFERENCE: from real scans"}
"""of the image's header, by whether it is synthetic"""


def write_samples(
    generator: Generator,
    requests: Mapping[Path, Request],
    seed: int,
    code: str,
    what: str,
    record: Callable[[Path], None] = lambda path: None,
) -> None:
    """Write the volume of every request, unless it exists with exactly the sidecar it would get.

    Args:
        generator: what makes them.
        requests: the path (.nii.gz) of each request.
        seed: of every draw.
        code: fingerprint of the code that makes them; part of the sidecar.
        what: name of the work, for the progress bar.
        record: called with each path as soon as its volume is there, kept ones too.

    Raises:
        UserError: a request that the generator refuses; what was made until then is kept.
    """
    sidecars = {
        path: _as_text(sidecar(request, generator.made_by(request, seed), code))
        for path, request in requests.items()
    }
    todo = [path for path in requests if not _is_there(path, sidecars[path])]
    for path in requests.keys() - todo:
        record(path)
    samples = generator.sample([requests[path] for path in todo], seed)
    for path, sample in zip(todo, progress(samples, what, len(todo)), strict=True):
        write_sample(path, sample, sidecars[path])
        record(path)


def write_sample(path: Path, sample: Sample, text: str) -> None:
    """Write one volume and its sidecar; equal volumes make equal files.

    The sidecar is written last, and one that was there before goes first: where it exists, it tells
    of the volume beside it.
    """
    with alone(path):
        sidecar_path(path).unlink(missing_ok=True)
        write_nifti(
            path,
            sample.volume,
            sample.affine,
            description=DESCRIPTION[json.loads(text)["Synthetic"]],
        )
        write_text(sidecar_path(path), text)


def sidecar(request: Request, made_by: Mapping[str, Any], code: str) -> dict[str, Any]:
    """Return the sidecar of a sample: that it is synthetic, what was asked, what made it.

    A reference says by its `made_by` that it is not synthetic.
    """
    conditions = {
        field.name: text
        for field in load_schema().fields
        if (text := canonical(field, request.metadata.get(field.name), request.name))
    }
    return {
        "Synthetic": True,
        "Description": "Synthetic brain MRI made by a generative model; nobody was scanned",
        "Contrast": request.modality,
        "Conditions": conditions,
        "SampleName": request.name,
        **made_by,
        # BIDS asks for it where the name says a space; finished volumes of others say none.
        **({"SpatialReference": REFERENCE} if "Space" in made_by else {}),
        "CodeSHA256": code,
    }


def _is_there(path: Path, text: str) -> bool:
    beside = sidecar_path(path)
    return path.is_file() and beside.is_file() and beside.read_text(encoding="utf-8") == text


def _as_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"
