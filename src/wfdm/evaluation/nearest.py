"""The nearest training session: what a look-up would answer where a scan is missing."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from wfdm.latents.cache import Latents

Scans = Mapping[str, str]
"""of a session: scan_id by modality"""


class Nearest:
    """Distances of some sessions to every training session, modality by modality.

    The distance is the squared difference of scaled posterior means. Each training latent is read
    once, whatever the number of sessions that ask.

    Args:
        latents: of both.
        training: the sessions that can answer.
        asking: the sessions that ask, by key.
    """

    def __init__(
        self, latents: Latents, training: Sequence[Scans], asking: Mapping[str, Scans]
    ) -> None:
        self.training = training
        self.distances: dict[tuple[str, str], np.ndarray] = {}
        for modality in sorted({name for scans in asking.values() for name in scans}):
            keys = [key for key, scans in asking.items() if modality in scans]
            stacked = np.stack([latents.scaled_mean(asking[key][modality]).ravel() for key in keys])
            found = np.full((len(keys), len(training)), np.inf)
            for column, scans in enumerate(training):
                if modality in scans:
                    answer = latents.scaled_mean(scans[modality]).ravel()
                    differences = stacked - answer
                    found[:, column] = np.einsum("ij,ij->i", differences, differences)
            self.distances |= {(key, modality): row for key, row in zip(keys, found, strict=True)}

    def scan(self, key: str, sources: Iterable[str], target: str) -> str | None:
        """Return the target scan of the training session that is nearest in all the sources.

        Args:
            key: of the session that asks.
            sources: modalities that it has.
            target: modality that is wanted.

        Returns:
            A scan_id; None where no training session has the sources and the target.
        """
        total = np.sum([self.distances[key, name] for name in sources], axis=0)
        having = np.array([target in scans for scans in self.training], bool)
        total = np.where(having, total, np.inf)
        best = int(np.argmin(total)) if len(total) else 0
        return self.training[best][target] if len(total) and np.isfinite(total[best]) else None
