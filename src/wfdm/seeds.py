"""Named seeds: every random draw is a function of the study's seed and of what it is for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# A CPU generator's state in torch, in bytes: seed (8), counters (16), then the 624 words of its
# Mersenne twister in 8 bytes each, and normal draws that are left over.
WORDS = slice(24, 24 + 624 * 8)


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
    encoded = text.encode(errors="surrogatepass")  # file names need not be Unicode
    return int.from_bytes(hashlib.sha256(encoded).digest()[:8], "big") >> 1


def generator_for(study_seed: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator of its own for one named draw (see `seed_for`)."""
    return np.random.default_rng(seed_for(study_seed, *names))


def torch_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator that depends on every bit of `seed`, in [0, 2**63).

    On its own torch seeds the CPU's Mersenne twister with the lower 32 bits: seeds 5 and 5 + 2**40
    would give the same noise. Here NumPy's SeedSequence fills the whole state. A GPU's Philox takes
    all bits by itself.

    Raises:
        RuntimeError: torch keeps its state in another way than it does in the versions known here.
    """
    import torch

    generator = torch.Generator(device=device).manual_seed(seed)
    if generator.device.type != "cpu":
        return generator
    state = generator.get_state()
    words = state.numpy()[WORDS].view(np.uint64)  # shares memory with `state`
    if words.size != 624 or words[0] != seed % 2**32:
        raise RuntimeError(f"torch {torch.__version__} keeps generator states in an unknown way")
    words[:] = np.random.MT19937(np.random.SeedSequence(seed)).state["state"]["key"]
    return generator.set_state(state)


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Let torch's global CPU generator, which draws initial weights, begin at `seed`.

    It goes on afterwards as if nothing had been drawn.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch_generator(seed).get_state())
        yield
