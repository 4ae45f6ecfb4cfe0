"""The energy score, by which a GAN's weights are chosen."""

from itertools import combinations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfdm.baselines.hagan_training import energy_score
from wfdm.seeds import torch_generator


@given(st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_the_energy_score_is_distances_less_half_the_spread(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples, real = rng.random((count, 1, 3, 2, 2)), rng.random((1, 1, 3, 2, 2))

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(((a - b) ** 2).mean()))

    away = np.mean([distance(each, real[0]) for each in samples])
    spread = np.mean([distance(a, b) for a, b in combinations(samples, 2)])
    found = energy_score(torch.from_numpy(samples), torch.from_numpy(real))
    np.testing.assert_allclose([float(each) for each in found], [away - spread / 2, spread])


def test_the_true_distribution_scores_best() -> None:
    """Better than its mean alone, than a shifted one, than one too narrow or too wide."""
    rng = torch_generator(0)

    def score(mean: float, width: float) -> float:
        trials = [
            energy_score(
                mean + width * torch.randn((2, 1, 2, 1, 1), generator=rng),
                torch.randn((1, 1, 2, 1, 1), generator=rng),
            )[0]
            for _ in range(1500)
        ]
        return float(torch.stack(trials).mean())

    true = score(0, 1)
    assert all(true < score(*other) for other in ((0, 0), (1, 1), (0, 0.3), (0, 3)))
