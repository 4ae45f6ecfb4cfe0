"""What tests of the audit share."""

from pathlib import Path

from tests.unit import small_study
from wfdm.provenance.audit import Audit

OF_TABLE = small_study.ARTEFACTS - 2  # all but the two of the figure


def problems(path: Path) -> list[str]:
    """What an audit finds wrong, a line each."""
    audit = Audit()
    return [f"{audit.told(each.path)} {each.what}" for each in audit.of(path).problems]


def edit(path: str | Path, old: str, new: str) -> None:
    """Replace a text in a file, as a person with an editor would."""
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))
