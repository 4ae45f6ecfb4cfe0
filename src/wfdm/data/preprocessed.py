"""The preprocessed volumes of a session's folder, found by their names."""

import re
from collections import defaultdict
from pathlib import Path

from wfdm.data.paths import SPACE
from wfdm.errors import UserError

VOLUME = re.compile(
    rf"(?P<prefix>sub-[^_]+(?:_ses-[^_]+)?(?:_run-[0-9]+)?)(?P<agent>_ce-gadolinium)?_space-{SPACE}"
    r"_desc-preproc_(?P<suffix>T1w|T2w|FLAIR)\.nii\.gz"
)


def volumes_in(folder: Path, prefix: str | None = None) -> tuple[str, dict[str, Path]]:
    """Return the name of a folder's session, and its preprocessed volumes by modality.

    Args:
        folder: DATASET/sub-SUBJECT[/ses-SESSION]/anat of a study's preprocessed scans, or a folder
            above it that holds no other session.
        prefix: sub-SUBJECT[_ses-SESSION][_run-N], where it holds several sessions.

    Raises:
        UserError: there is no such volume, or those of several sessions.
    """
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(Path(folder).rglob("*.nii.gz")):
        if match := VOLUME.fullmatch(path.name):
            suffix = match["suffix"]
            if match["agent"] and suffix != "T1w":
                continue
            modality = "T1Gd" if match["agent"] else suffix
            if modality in found[match["prefix"]]:
                raise UserError(f"{path}: and {found[match['prefix']][modality]} have one name")
            found[match["prefix"]][modality] = path
    wanted = {name: scans for name, scans in found.items() if prefix in (None, name)}
    if not wanted:
        told = f" called {prefix}" if prefix else ""
        raise UserError(
            f"{folder}: there is no volume{told} that was preprocessed, such as "
            f"sub-1_space-{SPACE}_desc-preproc_T1w.nii.gz"
        )
    if len(wanted) > 1:
        raise UserError(f"{folder}: holds {', '.join(wanted)}: name one of them as --prefix")
    return next(iter(wanted.items()))
