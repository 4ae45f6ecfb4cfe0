"""Make synthetic scans on request: NIfTI with a BIDS sidecar, labelled synthetic.

It needs a denoiser's folder and the compressor that this names, or the folder of a GAN, which is
told the modality alone. What is wanted is told by options, or by a table: a cohort to order.
Metadata that is not given counts as not recorded; the age group comes from the age where the
denoiser learned it so. A volume starts from the noise of its name and the seed, so two requests of
one name that differ only in age give volumes that differ only by age.
A volume that exists already, with exactly the sidecar that it would get, is kept; each has a
provenance record beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from wfdm.errors import UserError
from wfdm.stages.arguments import Threads
from wfdm.stages.inputs import device, metadata_of

if TYPE_CHECKING:
    from wfdm.generators.protocol import Request


def run(
    checkpoint: Annotated[Path, "Folder of a trained denoiser or GAN."],
    modality: Annotated[str | None, "T1w, T2w, T1Gd or FLAIR."] = None,
    requests: Annotated[
        Path | None,
        "Instead of --modality, -n and metadata: a TSV, a row for each volume, with the columns "
        "modality, and where wanted name and metadata fields.",
    ] = None,
    out: Annotated[Path, "Folder for the volumes."] = Path("."),
    n: Annotated[int, "How many volumes."] = 1,
    age: Annotated[float | None, "Years."] = None,
    sex: Annotated[str | None, "female, male or other."] = None,
    field: Annotated[list[str] | None, "NAME=VALUE, for any other metadata field."] = None,
    seed: Annotated[int, "Seed of the noise."] = 42,
    sampler: Annotated[
        str,
        "How noise becomes a sample: euler, heun or dpm-solver++ with rflow; ancestral, ddim or "
        "dpm-solver++ with ddpm.",
    ] = "euler",
    steps: Annotated[int, "Of the sampler (paper: 50)."] = 50,
    eta: Annotated[float, "Of ddim: noise on the way, from 0 to 1."] = 0.0,
    guidance: Annotated[float, "Weight of the metadata; 1: off (paper)."] = 1.0,
    clamp: Annotated[bool, "Keep what each step predicts in the range of volumes."] = False,
    batch: Annotated[int, "Volumes side by side on a GPU; of a CPU no bit depends on it."] = 8,
    arithmetic: Annotated[str, "Of a GPU: float32, tf32 or bf16."] = "tf32",
    channels_last: Annotated[bool, "Channels beside each other in memory."] = False,
    compile: Annotated[bool, "Compile the models: minutes at first."] = False,
    graphs: Annotated[bool, "CUDA graphs, on a GPU alone."] = False,
    shard: Annotated[int, "Number of the shard to make, from 0."] = 0,
    shards: Annotated[int, "Number of shards that the volumes are cut into."] = 1,
    threads: Threads = 2,
) -> None:
    """Write the volumes and print their paths."""
    # Refused before anything heavy is imported.
    from wfdm.config.files import parse
    from wfdm.config.generators import SamplerSettings

    asked = {"sampler": sampler, "steps": steps, "eta": eta}
    asked |= {"guidance": guidance, "clamp": clamp, "batch": batch}
    levers = {"arithmetic": arithmetic, "channels_last": channels_last}
    asked |= {"inference": levers | {"compile": compile, "graphs": graphs}}
    sampling = parse(SamplerSettings, asked, "wfdm sample")
    if requests is None:
        wanted = _by_options(modality, n, age, sex, field or [])
    elif modality or n != 1 or age is not None or sex or field:
        raise UserError(f"{requests} says what is wanted: give no --modality, -n or metadata")
    else:
        from wfdm.generators.order import read_order

        wanted = read_order(requests)

    from wfdm.data.paths import SPACE, volume_name
    from wfdm.data.shards import in_shard
    from wfdm.generators.protocol import refuse_others
    from wfdm.generators.write import write_samples
    from wfdm.provenance.fingerprints import fingerprint
    from wfdm.stages.checkpoints import opened

    device(threads)
    generator, accepted, files, modules = opened(checkpoint, sampling, wanted)
    refuse_others(generator, accepted, generator.name)
    mine = set(in_shard({each.name for each in accepted}, shard, shards))
    paths = {
        out / volume_name(each.name, each.modality, SPACE, "synthetic"): each
        for each in accepted
        if each.name in mine
    }
    code = fingerprint("wfdm.stages.sample", *modules)
    record = _Recording(files, paths, {"seed": seed} | sampling.numbers(), code)
    write_samples(generator, paths, seed, code, "sample", record)
    print(*paths, sep="\n")


def _by_options(
    modality: str | None, n: int, age: float | None, sex: str | None, fields: list[str]
) -> list[Request]:
    """Return `n` requests of what the options say; raise UserError where they cannot be made."""
    from wfdm.data.table import check_modality

    if modality is None:
        raise UserError("what is wanted is not said: give --modality, or a table as --requests")
    if n < 1:
        raise UserError(f"-n is {n}; it must be 1 or more")
    check_modality(modality)
    metadata = metadata_of(age, sex, fields)

    from wfdm.generators.order import default_name
    from wfdm.generators.protocol import Request

    return [Request(default_name(number), modality, metadata) for number in range(1, n + 1)]


class _Recording:
    """Writes the provenance record of each volume as soon as it is there."""

    def __init__(
        self,
        files: list[Path],
        requests: dict[Path, Request],
        settings: dict[str, Any],
        code: str,
    ) -> None:
        from wfdm.provenance.digests import digests
        from wfdm.provenance.records import Began

        self.inputs = digests(file for file in files if file.is_file())
        self.requests, self.settings, self.code, self.began = requests, settings, code, Began()

    def __call__(self, path: Path) -> None:
        from wfdm.data.paths import sidecar_path
        from wfdm.provenance.items import Basis, is_true, write_record
        from wfdm.provenance.records import Began, record_path

        request = self.requests[path]
        told = {"name": request.name, "modality": request.modality}
        settings = self.settings | told | {"metadata": dict(request.metadata)}
        basis = Basis(settings, self.code, self.inputs, self.began)
        outputs = [path, sidecar_path(path)]
        if not is_true(record_path(path), basis, outputs):
            write_record(record_path(path), "sample", basis, outputs, {})
        self.began = Began()
