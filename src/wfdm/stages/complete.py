"""Make what a session lacks from the scans that it has: NIfTI, labelled synthetic.

It needs a trained completion's folder, and the denoiser and the compressor that this names. The
session is a folder of preprocessed volumes. Metadata that is not given counts as not recorded. A
volume that exists already, with exactly the sidecar that it would get, is kept; each has a
provenance record beside it. What is made belongs in a folder of its own, beside no real scan.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from wfdm.errors import UserError
from wfdm.stages.arguments import Threads
from wfdm.stages.inputs import device, metadata_of, models_behind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wfdm.generators.completion import Completing, Completion


def run(
    checkpoint: Annotated[Path, "Folder of a trained completion."],
    session: Annotated[Path, "Folder of the session's preprocessed volumes."],
    modality: Annotated[
        list[str] | None,
        "T1w, T2w, T1Gd or FLAIR; once for each, by default all that the session lacks.",
    ] = None,
    source: Annotated[
        list[str] | None,
        "Modality of the session to make them from; once for each, by default all that it has.",
    ] = None,
    prefix: Annotated[
        str | None, "sub-SUBJECT[_ses-SESSION][_run-N], where the folder holds several sessions."
    ] = None,
    out: Annotated[Path, "Folder for the volumes."] = Path("."),
    age: Annotated[float | None, "Years."] = None,
    sex: Annotated[str | None, "female, male or other."] = None,
    field: Annotated[list[str] | None, "NAME=VALUE, for any other metadata field."] = None,
    seed: Annotated[int, "Seed of the noise."] = 42,
    sampler: Annotated[
        str,
        "How noise becomes a scan: euler, heun or dpm-solver++ with rflow; ancestral, ddim or "
        "dpm-solver++ with ddpm.",
    ] = "euler",
    steps: Annotated[int, "Of the sampler."] = 50,
    draws: Annotated[int, "Completions whose mean latent is decoded."] = 1,
    eta: Annotated[float, "Of ddim: noise on the way, from 0 to 1."] = 0.0,
    threads: Threads = 2,
) -> None:
    """Write the volumes and print their paths."""
    # Refused before anything heavy is imported.
    from wfdm.config.completions import CompletionSampling
    from wfdm.config.files import parse

    asked = {"sampler": sampler, "steps": steps, "eta": eta, "draws": draws}
    sampling = parse(CompletionSampling, asked, "wfdm complete")
    metadata = metadata_of(age, sex, field or [])

    from wfdm.data.paths import SPACE, volume_name
    from wfdm.data.preprocessed import volumes_in
    from wfdm.generators.completion import Completing, load
    from wfdm.generators.order import with_age_group
    from wfdm.generators.protocol import refuse_others
    from wfdm.generators.write import write_samples
    from wfdm.provenance.fingerprints import fingerprint

    name, there = volumes_in(session, prefix)
    sources = _chosen(there, source, session)
    device(threads)
    completion = load(checkpoint, sampling.exact, sampling.draws)
    wanted = _wanted(completion, there, sources, modality, session)
    requests = {}
    for each in wanted:
        request = Completing(name, each, metadata, sources=sources)
        if completion.frozen.age_group_from_age:
            request = with_age_group(request)  # type: ignore[assignment]  # keeps its class
        requests[out / volume_name(name, each, SPACE, "synthetic")] = request
    refuse_others(completion, list(requests.values()), completion.name)
    denoiser = _denoiser_of(checkpoint)
    code = fingerprint("wfdm.stages.complete", *models_behind(denoiser))
    settings = {"seed": seed} | sampling.numbers()
    record = _Recording(checkpoint, completion, requests, settings, code)
    write_samples(completion, requests, seed, code, "complete", record)
    print(*requests, sep="\n")


def _chosen(there: Mapping[str, Path], source: list[str] | None, session: Path) -> dict[str, Path]:
    """Return the scans that are told; raise UserError where one is not there."""
    for name in source or []:
        if name not in there:
            raise UserError(f"{session}: has no {name}; there is {', '.join(there)}")
    return {name: path for name, path in there.items() if not source or name in source}


def _wanted(
    completion: Completion,
    there: Mapping[str, Path],
    sources: Mapping[str, Path],
    modality: list[str] | None,
    session: Path,
) -> list[str]:
    """Return the modalities to make.

    Raises UserError for one that is there and is not asked to be made from others, and where the
    session lacks none.
    """
    wanted = modality or [name for name in completion.modalities if name not in there]
    if not wanted:
        raise UserError(f"{session}: lacks no modality that {completion.name} makes")
    for name in wanted:
        if name in sources:
            raise UserError(
                f"{session}: has a {name} already, {there[name]}; to make it nevertheless, name "
                "the others as --source"
            )
    return list(dict.fromkeys(wanted))


def _denoiser_of(checkpoint: Path) -> Path:
    from wfdm.models.denoisers.branch_folder import read

    return read(checkpoint).denoiser


class _Recording:
    """Writes the provenance record of each volume as soon as it is there."""

    def __init__(
        self,
        checkpoint: Path,
        completion: Completion,
        requests: Mapping[Path, Completing],
        settings: dict[str, Any],
        code: str,
    ) -> None:
        from wfdm.provenance.digests import digests
        from wfdm.provenance.records import Began

        denoiser = _denoiser_of(checkpoint)
        models = [checkpoint, denoiser, Path(completion.frozen.space.compressor)]
        files = [checkpoint / "config.json", denoiser / "config.json"]
        files += [denoiser / "standard.safetensors"]
        files += [folder / "model.safetensors" for folder in models]
        self.inputs = digests(file for file in files if file.is_file())
        self.requests, self.settings, self.code, self.began = requests, settings, code, Began()

    def __call__(self, path: Path) -> None:
        from wfdm.data.paths import sidecar_path
        from wfdm.provenance.digests import digests
        from wfdm.provenance.items import Basis, is_true, write_record
        from wfdm.provenance.records import Began, record_path

        request = self.requests[path]
        told: dict[str, Any] = {"name": request.name, "modality": request.modality}
        told |= {"sources": list(request.sources)}
        settings = self.settings | told | {"metadata": dict(request.metadata)}
        inputs = self.inputs | digests(request.sources.values())
        basis = Basis(settings, self.code, inputs, self.began)
        outputs = [path, sidecar_path(path)]
        if not is_true(record_path(path), basis, outputs):
            write_record(record_path(path), "complete", basis, outputs, {})
        self.began = Began()
