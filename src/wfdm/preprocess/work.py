"""A session as a shard works on it: preprocessed, or its failure noted, with a record of either."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wfdm.atomic import write_text
from wfdm.config.preprocess import PreprocessSettings
from wfdm.data.sessions import Session
from wfdm.errors import SessionError, one_line
from wfdm.log import log
from wfdm.preprocess.extraction.extractors import Resources
from wfdm.preprocess.session import preprocess_session
from wfdm.provenance.digests import sha256_of
from wfdm.provenance.items import Basis, is_true, write_record
from wfdm.seeds import seed_for


@dataclass(frozen=True)
class Preprocessing:
    """What all sessions of a study have in common.

    Attributes:
        seed: the study's.
        settings: the study's `preprocess` section.
        atlas: the skull-stripped SRI-24 T1w.
        atlas_head: the whole SRI-24 head.
        weights: of the brain extraction; raw scans alone need them.
        digests: path to sha256 of these files.
        code: fingerprint of this module.
        root: folder of the results.
        threads: passes of the brain extraction side by side; no result depends on it.
    """

    seed: int
    settings: PreprocessSettings
    atlas: Path
    atlas_head: Path
    weights: tuple[Path, ...]
    digests: Mapping[str, str]
    code: str
    root: Path
    threads: int = 1

    def record(self, session: Session) -> Path:
        """Return where the session's record lies."""
        return session.record(self.root, "preproc")

    def is_done(self, session: Session) -> bool:
        """Return whether the session was preprocessed as it would be now, and all is there."""
        return is_true(self.record(session), self._basis(session))

    def __call__(self, session: Session) -> None:
        """Preprocess a session and record it; of one that cannot be used, record why."""
        basis, record = self._basis(session), self.record(session)
        try:
            result = preprocess_session(
                session.scans,
                record.parent,
                session.prefix,
                self.settings,
                seed_for(self.seed, "preprocess", session.dataset, session.prefix),
                self.atlas,
                self.atlas_head,
                _state(session),
                Resources(self.weights, self.threads),
            )
        except SessionError as error:
            note = record.with_name(f"{session.prefix}_desc-preproc_failed.txt")
            write_text(note, f"{error}\n")
            write_record(record, "preprocess", basis, [note], {"failed": str(error)})
            log.info(f"{session.key} failed: {one_line(str(error))}")
            return
        write_record(record, "preprocess", basis, result.files(), result.numbers())
        log.info(
            f"{session.key}: {' '.join(result.paths.volumes)}, brain {result.mask_ml:.0f} mL, "
            f"Dice with the atlas {result.atlas_dice:.3f}"
        )

    def _basis(self, session: Session) -> Basis:
        shared = [self.atlas, self.atlas_head, *(self.weights if needs_weights(session) else ())]
        return Basis(
            settings={"seed": self.seed, "preprocess": self.settings.model_dump(mode="json")},
            code=self.code,
            inputs=_readable(session.files())
            | {str(path): self.digests[str(path)] for path in shared},
        )


def _readable(scans: Iterable[Path]) -> dict[str, str]:
    """Return path to sha256 of those scans that can be read; work on the others says why not."""
    found = {}
    for path in sorted(set(scans)):
        with contextlib.suppress(OSError):
            found[str(path)] = sha256_of(path)
    return found


def needs_weights(session: Session) -> bool:
    """Return whether the brain has yet to be found: only raw scans still have a skull."""
    return "raw" in session.states


def _state(session: Session) -> str:
    if len(session.states) > 1:
        raise SessionError(
            f"{session.key}: its scans have several states ({', '.join(session.states)}); give "
            "each state a source of its own"
        )
    return session.states[0]
