"""A phantom session as a shard works on it: its scans, and a record of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wfdm.config.cohort import PhantomSource
from wfdm.data.sessions import Session
from wfdm.data.sources.phantom import dataset_named
from wfdm.log import log
from wfdm.phantom.acquisition import synthesise_session
from wfdm.provenance.items import Basis, is_true, write_record


@dataclass(frozen=True)
class Phantoms:
    """What all phantom sessions of a study have in common.

    Attributes:
        seed: the study's.
        sources: the phantom source of each dataset.
        assets: file of each template that the sources name.
        digests: path to sha256 of these files.
        code: fingerprint of this module.
        root: folder of the raw scans.
    """

    seed: int
    sources: Mapping[str, PhantomSource]
    assets: Mapping[str, Path]
    digests: Mapping[str, str]
    code: str
    root: Path

    def record(self, session: Session) -> Path:
        """Return where the session's record lies."""
        return session.record(self.root, "raw")

    def is_done(self, session: Session) -> bool:
        """Return whether the session was made as it would be now, and all is there."""
        return is_true(self.record(session), self._basis(session), session.scans.values())

    def __call__(self, session: Session) -> None:
        """Make the scans of a session and record them."""
        basis = self._basis(session)
        head, brain = self._templates(session)
        synthesise_session(
            self.sources[session.dataset],
            self.seed,
            session.dataset,
            session.subject,
            session.session,
            head,
            brain,
            session.scans,
        )
        write_record(self.record(session), "phantom", basis, session.scans.values(), {})
        log.info(f"{session.key}: {' '.join(session.scans)}")

    def _templates(self, session: Session) -> tuple[Path, Path]:
        source = self.sources[session.dataset]
        return self.assets[source.template], self.assets[source.brain]

    def _basis(self, session: Session) -> Basis:
        # How many people and scans the dataset has makes no scan another one.
        dataset = dataset_named(self.sources[session.dataset], session.dataset)
        made = dataset.model_dump(mode="json", include={"name", "lesions", "voxel_mm"})
        return Basis(
            settings={"seed": self.seed, "dataset": made},
            code=self.code,
            inputs={
                str(path): self.digests[str(path)] for path in sorted(self._templates(session))
            },
        )
