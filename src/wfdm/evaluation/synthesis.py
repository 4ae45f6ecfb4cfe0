"""The metrics of one generator: a row per modality and one for all (table 4)."""

from collections.abc import Sequence
from math import nan
from pathlib import Path

import pandas as pd
import torch

from wfdm.config.volumes import VolumeSettings
from wfdm.data.table import MODALITIES, rows_of
from wfdm.data.volumes import load_standardised
from wfdm.errors import UserError
from wfdm.evaluation import OVERALL
from wfdm.evaluation.distribution import FEWEST, distances, pooled
from wfdm.evaluation.diversity import self_similarity
from wfdm.evaluation.features import Features, read_features
from wfdm.evaluation.floors import read_means, recognise
from wfdm.log import progress
from wfdm.seeds import generator_for

COLUMNS = (
    "modality",
    "n_real",
    "n_synthetic",
    "FID",
    "MMD",
    "MS-SSIM",
    "pairs",
    "recognised",
    "extractor",
    "extractor_sha256",
    "seed",
    "note",
)


def synthesis_metrics(
    real_features: Sequence[Path],
    synthetic_features: Sequence[Path],
    samples: pd.DataFrame,
    means: Path | str,
    diversity_pairs: int,
    settings: VolumeSettings,
    seed: int,
    generator: str,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Judge one generator's samples against the real test scans.

    Args:
        real_features: of the test scans, the shards of `features.extract`.
        synthetic_features: of `samples`, by the same network.
        samples: columns scan_id, modality, path.
        means: mean training volumes (`floors.mean_volumes`), the classes of `recognised`.
        diversity_pairs: most MS-SSIM pairs per modality.
        settings: of the tensor that every model sees.
        seed: the study's.
        generator: its name; with the seed and the modality it fixes the pairs drawn.
        device: where MS-SSIM is computed.

    Returns:
        COLUMNS, one row per modality in the order T1w, T2w, T1Gd, FLAIR, then "Overall": FID,
        MMD and MS-SSIM as means weighted by the real scans' counts (how the paper pools),
        `recognised` as the share of all samples.
    """
    real, made = read_features(real_features), read_features(synthetic_features)
    samples = samples.sort_values("scan_id", ignore_index=True)
    _check(real, made, samples, str(synthetic_features[0]))
    hits = _recognised(samples, means, settings)
    present = set(real.modalities) | set(made.modalities)
    rows = []
    for modality in (name for name in MODALITIES if name in present):
        of_modality = samples[samples["modality"] == modality]
        fid, mmd = distances(made.of(modality), real.of(modality))
        similarity, pairs = self_similarity(
            list(of_modality["path"]),
            settings,
            diversity_pairs,
            generator_for(seed, "diversity", generator, modality),
            device,
        )
        rows.append(
            {
                "modality": modality,
                "n_real": real.modalities.count(modality),
                "n_synthetic": len(of_modality),
                "FID": fid,
                "MMD": mmd,
                "MS-SSIM": similarity,
                "pairs": pairs,
                "recognised": float(hits[of_modality.index].mean()) if len(of_modality) else nan,
            }
        )
    table = pd.DataFrame(rows)
    few = table[["n_real", "n_synthetic"]].min(axis=1) < FEWEST
    table["note"] = few.map({True: f"FID and MMD need {FEWEST} scans on each side", False: ""})
    table = pd.concat([table, pd.DataFrame([_overall(table)])], ignore_index=True)
    table = table.assign(extractor=real.extractor, extractor_sha256=real.digest, seed=seed)
    return table[list(COLUMNS)]


def _check(real: Features, made: Features, samples: pd.DataFrame, where: str) -> None:
    """Refuse features of different networks, and features of other samples."""
    for name in ("extractor", "digest", "intensity"):
        ours, theirs = getattr(made, name), getattr(real, name)
        if ours != theirs:
            raise UserError(
                f"{where}: {name} '{ours}' is not the real scans' '{theirs}'; extract both again"
            )
    if made.scan_ids != tuple(samples["scan_id"]):
        raise UserError(f"{where}: made from other samples than given; extract the features again")


def _recognised(samples: pd.DataFrame, means: Path | str, settings: VolumeSettings) -> pd.Series:
    """Tell for each sample whether its nearest class mean is the modality asked for."""
    classes = read_means(means)
    hits = [
        recognise(load_standardised(sample["path"], settings), classes) == sample["modality"]
        for sample in progress(rows_of(samples), "recognition", len(samples))
    ]
    return pd.Series(hits, index=samples.index, dtype=bool)


def _overall(table: pd.DataFrame) -> dict[str, object]:
    """Pool the modalities' rows."""
    left_out = table.loc[table["FID"].isna(), "modality"]
    real, made = table["n_real"].tolist(), table["n_synthetic"].tolist()
    return {
        "modality": OVERALL,
        **{name: int(table[name].sum()) for name in ("n_real", "n_synthetic", "pairs")},
        **{name: pooled(table[name].tolist(), real) for name in ("FID", "MMD", "MS-SSIM")},
        "recognised": pooled(table["recognised"].tolist(), made),
        "note": f"FID and MMD without {', '.join(left_out)}" if len(left_out) else "",
    }
