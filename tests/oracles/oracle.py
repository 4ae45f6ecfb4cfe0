"""An oracle of one system: its facts, its tensors, its generated weights, and what is close."""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

FOLDER = Path(os.environ.get("WFDM_ORACLES", Path(__file__).parents[3] / "shared" / "oracles"))
# Shares of the largest output.
FORWARD, PUBLISHED, CHAIN = 1e-5, 5e-5, 1e-4
FIRST, SECOND, STEP = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Oracle:
    """Facts and tensors of one system."""

    system: str
    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    def weights(self, network: str) -> dict[str, Tensor]:
        """Return the stored weights of a network, float32, by their published keys."""
        start = f"w.{network}."
        return {
            key.removeprefix(start): value.float()
            for key, value in self.tensors.items()
            if key.startswith(start)
        }

    def __getitem__(self, key: str) -> Tensor:
        """Return an input or output; half precision as float32."""
        value = self.tensors[key]
        return value.float() if value.is_floating_point() else value

    def has(self, key: str) -> bool:
        """Whether there is such a tensor."""
        return key in self.tensors

    def generated(self, shapes: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
        """Return weights by the recipe in the facts, for keys with their shapes."""
        seed = self.facts["weight_recipe"]["seed"]
        return {key: scaled(key, shape, seed) for key, shape in shapes}

    def check_recipe(self, weights: dict[str, Tensor]) -> None:
        """Compare generated weights with the first numbers that the facts tell of them."""
        for case in self.facts["cases"]:
            for key, first in case.get("recipe_check_first4", {}).items():
                found = weights[key].flatten()[: len(first)].tolist()
                np.testing.assert_allclose(found, first, rtol=1e-6, err_msg=key)


def oracle(system: str) -> Oracle:
    """Return the oracle of a system; skip the test where it is not on this machine."""
    folder = FOLDER / system
    if not (folder / "oracle.safetensors").is_file():
        pytest.skip(f"no oracle of {system} at {folder}; name their folder in WFDM_ORACLES")
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return Oracle(system, facts, load_file(folder / "oracle.safetensors"))


def uniform(key: str, count: int, seed: int) -> np.ndarray:
    """Return `count` numbers of [-1, 1), float64: the recipe's hash of a key, seed and place."""
    start = np.uint64((crc32(key.encode()) << 32) ^ seed)
    with np.errstate(over="ignore"):
        z = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(STEP)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(FIRST)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(SECOND)
    z ^= z >> np.uint64(31)
    return 2 * ((z >> np.uint64(11)).astype(np.float64) * 2.0**-53) - 1


def scaled(key: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Return a weight of the recipe: by fan-in, around 1 for norms, small for biases."""
    u = uniform(key, int(np.prod(shape)), seed)
    if len(shape) > 1:
        u *= np.sqrt(3 / np.prod(shape[1:]))
    else:
        u = 1 + 0.2 * u if key.endswith("weight") else 0.1 * u
    return torch.from_numpy(u.astype(np.float32)).reshape(shape)


def filled(build: Callable[[], nn.Module], weights: dict[str, Tensor]) -> nn.Module:
    """Return a network with these weights, name for name, in eval mode; drawing no fresh ones."""
    with torch.device("meta"):
        network = build()
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)


def shapes_of(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Return keys and shapes of a network's state, without making its weights."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in build().state_dict().items()}


def published_shapes(keys: Iterable[tuple[str, list[int], str]]) -> dict[str, tuple[int, ...]]:
    """Return keys and shapes as the facts tell them."""
    return {key: tuple(shape) for key, shape, _ in keys}


def assert_close(ours: Tensor, theirs: Tensor, share: float, what: str = "") -> None:
    """Compare: no number further away than a share of the largest of theirs."""
    assert ours.shape == theirs.shape, (what, ours.shape, theirs.shape)
    error = (ours.double() - theirs.double()).abs().max() / theirs.double().abs().max()
    assert error <= share, f"{what}: off by {error:.2e} of the largest output, not {share:g}"
