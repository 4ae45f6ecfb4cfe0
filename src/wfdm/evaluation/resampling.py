"""Bootstrap intervals: how far a metric moves when other scans had been drawn.

Real and synthetic scans are resampled with replacement, each modality for itself. A resample has
fewer different scans than the set, so a biased metric is larger in it (FID: the fewer, the larger).
The resamples are therefore moved, all by as much, to lie around the metric of the set: the
interval is that of a metric at this number of scans, and says nothing of one without bias.
"""

from math import nan

import numpy as np

from wfdm.seeds import generator_for

FEWEST_RESAMPLED = 5
"""scans on each side that an interval needs: of four there are 35 resamples, of five 126"""
ENDS = (2.5, 97.5)
"""percentiles of a 95 % interval"""


def counts_of(scans: int, resamples: int, seed: int, *names: str) -> np.ndarray:
    """Return how often each scan is in each resample, (resamples, scans).

    They depend on the seed, the names and the two numbers alone: generators that are judged on as
    many scans are judged on the same resamples.
    """
    drawn = generator_for(seed, "bootstrap", *names)
    if not scans:
        return np.empty((resamples, 0), int)
    return drawn.multinomial(scans, np.full(scans, 1 / scans), size=resamples)


def around(estimate: float, resampled: np.ndarray) -> np.ndarray:
    """Return what the resamples gave, moved so that its mean is the estimate."""
    return resampled - np.nanmean(resampled) + estimate


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Return the ends of the 95 % interval of draws; NaN of none."""
    if not len(draws):
        return nan, nan
    low, high = np.nanpercentile(draws, ENDS)
    return float(low), float(high)
