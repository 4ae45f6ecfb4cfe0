"""Named seeds: every random draw is a function of the study's seed and of what it is for."""

import hashlib

import numpy as np


def seed_for(study_seed: int, *names: str | int) -> int:
    """Return the seed of one named draw, in [0, 2**63).

    SHA-256 over the study's seed and the names, so that an item's result depends neither on
    order, batch size and worker count nor on PYTHONHASHSEED.

    >>> seed_for(42, "split", "IXI") == seed_for(42, "split", "IXI")
    True
    >>> seed_for(42, "a", "bc") == seed_for(42, "ab", "c")
    False
    """
    text = "\x1f".join(str(part) for part in (study_seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator_for(study_seed: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator of its own for one named draw (see `seed_for`)."""
    return np.random.default_rng(seed_for(study_seed, *names))
