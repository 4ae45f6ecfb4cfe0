"""Brain masks, by the extractor that the configuration names.

An extractor is a check, run before any work, and a function from a whole head on the 1 mm SRI-24
grid to a mask. To add one: write both and register their maker in `EXTRACTORS`.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from wfdm.accelerator import accelerator
from wfdm.config.preprocess import PreprocessSettings
from wfdm.errors import SessionError, UserError
from wfdm.preprocess.extraction import hd_bet


@dataclass(frozen=True)
class Resources:
    """What an extractor may use: the files of its weights, and a number of CPU threads."""

    weights: Sequence[Path] = ()
    threads: int = 1


@dataclass(frozen=True)
class Extractor:
    """One brain extractor, ready to work.

    `check(reference, session)` raises UserError where it cannot work, SessionError where it
    cannot read this session; `extract(head)` takes a float32 volume (240, 240, 155) in RAS at
    1 mm and returns a boolean mask of that shape.
    """

    check: Callable[[str, str], None]
    extract: Callable[[np.ndarray], np.ndarray]


def extractor_of(settings: PreprocessSettings, resources: Resources) -> Extractor:
    """Return the extractor that `settings` name."""
    made = EXTRACTORS[settings.extractor](settings, resources)

    def extract(head: np.ndarray) -> np.ndarray:
        import torch

        # Trained weights hold many denormal numbers, and they crawl. Others may need theirs.
        torch.set_flush_denormal(True)
        try:
            return made.extract(head)
        finally:
            torch.set_flush_denormal(False)

    return Extractor(made.check, extract)


# --- deepbet ----------------------------------------------------------------------------------


def _check_deepbet(reference: str, session: str) -> None:
    if reference != "T1w":
        raise SessionError(
            f"{session}: deepbet reads T1w only and the session's reference is {reference}; "
            "set preprocess.extractor to hd-bet or leave the session out"
        )


@cache
def _deepbet() -> Any:
    import torch
    from deepbet import BrainExtraction

    return BrainExtraction(no_gpu=not torch.cuda.is_available())


def _extract_deepbet(head: np.ndarray, spacing: float) -> np.ndarray:
    """Fisch et al., deepbet: Fast brain extraction of T1-weighted MRI, 2024.

    Its network sees the brain's box at 256 voxels a side, about 0.8 mm; 192 (1.1 mm) are enough
    for a grid of 2 mm and take half the time.
    """
    import torch

    model = _deepbet()
    side = 256 if spacing < 2 else 192
    # Optimising the graph costs more than it saves until many sessions have passed.
    with torch.jit.optimized_execution(False):
        probability = model.run_model(head.astype(np.float32), shape=(side, side, side))
    return model.postprocess(probability > 0.5).astype(bool)


def _make_deepbet(settings: PreprocessSettings, resources: Resources) -> Extractor:
    return Extractor(_check_deepbet, partial(_extract_deepbet, spacing=settings.spacing))


# --- HD-BET, the classic one --------------------------------------------------------------------


def _make_hd_bet(settings: PreprocessSettings, resources: Resources) -> Extractor:
    def check(reference: str, session: str) -> None:
        needed = len(settings.hd_bet.folds)
        if len(resources.weights) != needed:
            raise UserError(
                f"{session}: HD-BET has {len(resources.weights)} files of weights for {needed} "
                f"folds; fetch the assets {', '.join(settings.weights)}"
            )

    def extract(head: np.ndarray) -> np.ndarray:
        return hd_bet.brain_mask(head, resources.weights, settings.hd_bet, resources.threads)

    return Extractor(check, extract)


# --- HD-BET 2 -----------------------------------------------------------------------------------


def _hd_bet_2_weights() -> Path:
    return Path.home() / "hd-bet_params/release_2.0.0/fold_all/checkpoint_final.pth"


def _check_hd_bet_2(reference: str, session: str) -> None:
    if importlib.util.find_spec("HD_BET") is None:
        raise UserError(
            "hd-bet 2 is not installed; run pip install 'wfdm[hd-bet]' or set "
            "preprocess.extractor to hd-bet"
        )
    if not _hd_bet_2_weights().is_file():
        raise UserError(
            f"HD-BET 2's weights are missing: place {_hd_bet_2_weights()} (Zenodo record "
            "14445620) or set preprocess.extractor to hd-bet"
        )


@cache
def _hd_bet_2(mirror: bool) -> Any:
    import torch

    threads = torch.get_num_threads()
    from HD_BET.hd_bet_prediction import get_hdbet_predictor

    predictor = get_hdbet_predictor(use_tta=mirror, device=accelerator())
    torch.set_num_threads(threads)  # HD-BET takes every core of the machine
    return predictor


def _make_hd_bet_2(settings: PreprocessSettings, resources: Resources) -> Extractor:
    def extract(head: np.ndarray) -> np.ndarray:
        labels = _hd_bet_2(settings.hd_bet.mirror).predict_single_npy_array(
            np.ascontiguousarray(head.T[None]), {"spacing": [1.0, 1.0, 1.0]}
        )
        return np.asarray(labels).T > 0

    return Extractor(_check_hd_bet_2, extract)


EXTRACTORS: dict[str, Callable[[PreprocessSettings, Resources], Extractor]] = {
    "deepbet": _make_deepbet,
    "hd-bet": _make_hd_bet,
    "hd-bet-2": _make_hd_bet_2,
}
