"""Search a denoiser for the training scans that were planted in it several times.

It was asked for training scans by modality and metadata. A planted one is found where it comes back
as a copy, or where its loss is below that of every unseen scan of its modality. Scans that were not
planted are searched for too: what is found of them are false alarms, or scans learned by heart.
"""

from pathlib import Path
from typing import Annotated, Any

from wfdm.config.reads import reads
from wfdm.provenance.records import recorded
from wfdm.stages.arguments import Latents, Out, Splits

Settings = reads(
    "seed", "{denoiser}", "denoisers.{denoiser}.training.copies", "memorisation.copy_below"
)


def run(
    settings: Any,
    asked: Annotated[Path, "Neighbours of the samples that were asked for training scans."],
    losses: Annotated[Path, "Losses of training scans and others."],
    latents: Latents,
    splits: Splits,
    out: Out,
) -> None:
    """Write a row for each space, and for the loss, and number of copies."""
    import pandas as pd

    from wfdm.audits.membership import by_copies
    from wfdm.audits.memorisation import found, read_neighbours
    from wfdm.data.planting import planted
    from wfdm.data.split_table import read_splits
    from wfdm.data.table import read_table, write_csv

    index = latents.with_name("index.tsv")
    with recorded("planted", out, settings, [asked, losses, index, splits]):
        training = read_splits(splits).query("split == 'train'")["scan_id"]
        trained = training[training.isin(read_table(index)["scan_id"])]
        copies = planted(trained, settings.copies, settings.seed, settings.denoiser)
        scores = pd.read_csv(losses)
        mine = scores["split"] == "train"
        told = by_copies(scores[mine], copies, scores[~mine]).assign(space="loss")
        searched = found(read_neighbours(asked), copies, settings.copy_below)
        columns = ["space", "copies", "n", "found", "relative", "AUC", "AUC floor"]
        write_csv(pd.concat([searched, told])[columns], out)
