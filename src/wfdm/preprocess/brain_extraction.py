"""Brain masks, by the extractor that the configuration names.

An extractor is a check, run before any work, and a function from a whole head on the 1 mm SRI-24
grid to a mask. To add one: write both and register them in `EXTRACTORS`.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from wfdm.errors import UserError

# Brains of people of all ages with atrophy or swelling lie well inside; a mask outside is broken.
_PLAUSIBLE_ML = (500.0, 2500.0)


@dataclass(frozen=True)
class Extractor:
    """One brain extractor.

    `check(reference, session)` raises UserError where it cannot work; `extract(head, spacing)`
    takes a float32 volume (240, 240, 155) in RAS at 1 mm and returns a boolean mask of that
    shape; `spacing` is that of the study's grid in mm, which says how fine the mask must be.
    """

    check: Callable[[str, str], None]
    extract: Callable[[np.ndarray, float], np.ndarray]


def check_extractor(name: str, reference: str, session: str) -> None:
    """Refuse at once a session that extractor `name` cannot process.

    Args:
        name: a key of `EXTRACTORS`.
        reference: modality of the session's reference scan.
        session: what the session is called, for the message.

    Raises:
        UserError: the extractor or its weights are missing, or it cannot read this contrast.
    """
    EXTRACTORS[name].check(reference, session)


def brain_mask(name: str, head: np.ndarray, spacing: float, session: str) -> np.ndarray:
    """Return the boolean brain mask of `head`, a volume on the 1 mm SRI-24 grid in RAS.

    Args:
        name: a key of `EXTRACTORS`.
        head: float32 (240, 240, 155), any intensities.
        spacing: spacing in mm of the grid that the mask is for.
        session: what the session is called, for the message.

    Raises:
        UserError: the mask's volume is no brain's.
    """
    mask = EXTRACTORS[name].extract(head, spacing)
    volume = mask.sum() / 1000
    low, high = _PLAUSIBLE_ML
    if not low <= volume <= high:
        raise UserError(
            f"{session}: {name} found a brain of {volume:.0f} mL (plausible: {low:.0f} to "
            f"{high:.0f}); look at the reference scan, and exclude the session or change "
            "preprocess.extractor"
        )
    return mask


def _torch() -> Any:
    """Import torch with denormal numbers flushed: trained weights hold many, and they crawl."""
    import torch

    torch.set_flush_denormal(True)
    return torch


# --- deepbet ----------------------------------------------------------------------------------


def _check_deepbet(reference: str, session: str) -> None:
    if reference != "T1w":
        raise UserError(
            f"{session}: deepbet reads T1w only and the session's reference is {reference}; "
            "set preprocess.extractor to hd-bet or leave the session out"
        )


@cache
def _deepbet() -> Any:
    torch = _torch()
    from deepbet import BrainExtraction

    return BrainExtraction(no_gpu=not torch.cuda.is_available())


def _extract_deepbet(head: np.ndarray, spacing: float) -> np.ndarray:
    """Fisch et al., deepbet: Fast brain extraction of T1-weighted MRI, 2024.

    Its network sees the brain's box at 256 voxels a side, about 0.8 mm; 192 (1.1 mm) are enough
    for a grid of 2 mm and take half the time.
    """
    model = _deepbet()
    side = 256 if spacing < 2 else 192
    # Optimising the graph costs more than it saves until many sessions have passed.
    with _torch().jit.optimized_execution(False):
        probability = model.run_model(head.astype(np.float32), shape=(side, side, side))
    return model.postprocess(probability > 0.5).astype(bool)


# --- HD-BET -----------------------------------------------------------------------------------


def _hd_bet_weights() -> Path:
    return Path.home() / "hd-bet_params/release_2.0.0/fold_all/checkpoint_final.pth"


def _check_hd_bet(reference: str, session: str) -> None:
    if importlib.util.find_spec("HD_BET") is None:
        raise UserError(
            "hd-bet is not installed; run pip install 'wfdm[hd-bet]' or set "
            "preprocess.extractor to deepbet"
        )
    if not _hd_bet_weights().is_file():
        raise UserError(
            f"HD-BET's weights are missing: place {_hd_bet_weights()} (Zenodo record 14445620) "
            "or set preprocess.extractor to deepbet"
        )


@cache
def _hd_bet() -> Any:
    torch = _torch()
    threads = torch.get_num_threads()
    from HD_BET.hd_bet_prediction import get_hdbet_predictor

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictor = get_hdbet_predictor(use_tta=device.type == "cuda", device=device)
    torch.set_num_threads(threads)  # HD-BET takes every core of the machine
    return predictor


def _extract_hd_bet(head: np.ndarray, spacing: float) -> np.ndarray:
    """Isensee et al., Human Brain Mapping 40 (2019); test-time mirroring on a GPU, as there."""
    labels = _hd_bet().predict_single_npy_array(
        np.ascontiguousarray(head.T[None]), {"spacing": [1.0, 1.0, 1.0]}
    )
    return np.asarray(labels).T > 0


EXTRACTORS = {
    "deepbet": Extractor(_check_deepbet, _extract_deepbet),
    "hd-bet": Extractor(_check_hd_bet, _extract_hd_bet),
}
