"""Tell training scans from test scans by the denoiser's loss on each: membership inference.

Every scan has the same times and noises. Validation scans are left out: a training keeps the
weights that are the best on them.
"""

from typing import Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Denoiser, Latents, Out, Scans, Splits, Threads
from wfdm.stages.inputs import device, files_of, networks_of

Settings = reads("seed", "{denoiser}", "memorisation.membership", "evaluation.resamples")


def run(
    settings: Any,
    model: Denoiser,
    latents: Latents,
    scans: Scans,
    splits: Splits,
    out: Out,
    threads: Threads = 1,
) -> None:
    """Write each scan's loss, and the AUC with its interval beside it (`*_auc.csv`)."""
    import pandas as pd

    from wfdm.audits.losses import drawn, losses
    from wfdm.audits.membership import FLOOR, with_interval, within
    from wfdm.data.split_table import encoded_scans
    from wfdm.data.table import write_csv

    index = latents.with_name("index.tsv")
    inputs = [*files_of(model), latents, index, scans, splits]
    summary = out.with_name(f"{out.stem}_auc.csv")
    with recorded("membership", out, settings, inputs, networks_of(model.parent)) as record:
        where = device(threads)
        table = encoded_scans(scans, splits, index)
        seed, name, most = settings.seed, settings.denoiser, settings.membership.scans
        parts = (table[table["split"] == split] for split in ("train", "test"))
        sides = [drawn(part, most, seed, name) for part in parts]
        both = pd.concat(sides, ignore_index=True)
        times, identity = settings.membership.times, record.identity
        scored = losses(model.parent, latents.parent, both, times, seed, out, identity, where)
        training = scored["split"] == "train"
        mine, others = scored[training], scored[~training]
        ends = with_interval(mine, others, settings.resamples, seed, name)
        found = dict(zip(("AUC", "AUC low", "AUC high"), ends, strict=True))
        found["AUC floor"] = within(mine, others, FLOOR)
        counts = {"n_training": len(mine), "n_unseen": len(others)}
        write_csv(scored, out)
        write_csv(pd.DataFrame([found | counts]), summary)
        record.outputs = [out, summary]
