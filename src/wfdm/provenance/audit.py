"""The audit: from any artefact back to the raw scans, every digest verified."""

from collections.abc import Iterator
from pathlib import Path

from wfdm.errors import UserError
from wfdm.provenance.digests import sha256_of
from wfdm.provenance.records import SUFFIX, find_record, read

SHOWN = 8  # children of one node that are printed; every one is verified


class Audit:
    """Walks provenance records; remembers what it has verified, so that nothing is hashed twice."""

    def __init__(self) -> None:
        self.digests: dict[Path, str] = {}
        self.walked: set[Path] = set()
        self.artefacts = 0
        self.sources = 0

    def lines(self, artefact: Path, depth: int = 0, shown: bool = True) -> Iterator[str]:
        """Yield the printed chain of `artefact`, verifying as it goes.

        Raises:
            UserError: naming the artefact that is missing or differs from its record.
        """
        if not artefact.is_file():
            raise UserError(f"audit: {artefact} is missing: make it first")
        record = artefact if artefact.name.endswith(SUFFIX) else find_record(artefact)
        indent = "  " * depth
        if record is None:
            self.sources += 1
            if shown:
                yield f"{indent}{artefact}  source  sha256 {self._digest(artefact)[:12]}"
            return
        content = read(record)
        if shown:
            yield (
                f"{indent}{artefact}  {content['stage']}  code {content['code'][:12]}  "
                f"seed {content['seed']}  {content['started']}  {content['device']}"
            )
        if record in self.walked:
            return
        self.walked.add(record)
        self._verify(content["outputs"], record)
        self._verify(content["inputs"], record)
        self.artefacts += len(content["outputs"])
        for position, name in enumerate(content["inputs"]):
            visible = shown and position < SHOWN
            yield from self.lines(Path(name), depth + 1, visible)
        hidden = len(content["inputs"]) - SHOWN
        if shown and hidden > 0:
            yield f"{indent}  ... and {hidden} more inputs, verified too"

    def _digest(self, path: Path) -> str:
        if path not in self.digests:
            if not path.is_file():
                raise UserError(f"audit: {path} is missing: make it again, or restore it")
            self.digests[path] = sha256_of(path)
        return self.digests[path]

    def _verify(self, expected: dict[str, str], record: Path) -> None:
        for name, digest in expected.items():
            found = self._digest(Path(name))
            if found != digest:
                raise UserError(
                    f"audit: {name} has sha256 {found[:12]}, but {record} says {digest[:12]}: it "
                    "was changed after the fact; make it again"
                )
