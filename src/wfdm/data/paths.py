"""Keys of scans and sessions, and where their files lie: one place joins BIDS entities."""

import re
from collections.abc import Mapping
from pathlib import Path

SPACE = "SRI24"  # of preprocessed volumes, and so of synthetic ones
REFERENCE = "SRI-24 T1 on the BraTS grid"  # what that space is, as sidecars tell it


def label(text: str) -> str:
    """Return a subject's or session's label: no `sub-` or `ses-`, and only what a key may hold.

    >>> label("sub-s007"), label("29006_baseline"), label("BraTS-GLI-00000-000")
    ('s007', '29006+baseline', 'BraTS-GLI-00000-000')
    """
    bare = re.sub(r"^(sub|ses)-", "", text.strip(), flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9+-]", "+", bare)


def scan_id(dataset: str, subject: str, session: str, group: int, modality: str) -> str:
    """Return the key of a scan: dataset/sub-SUBJECT[_ses-SESSION][_run-GROUP+1]_MODALITY."""
    return f"{dataset}/{session_key(subject, session, group)}_{modality}"


def session_key(subject: str, session: str, group: int) -> str:
    """Return the BIDS file name prefix of one session: sub-SUBJECT[_ses-SESSION][_run-N]."""
    key = f"sub-{subject}"
    if session:
        key += f"_ses-{session}"
    return f"{key}_run-{group + 1}" if group else key


def session_folder(dataset: str, subject: str, session: str) -> str:
    """Return DATASET/sub-SUBJECT[/ses-SESSION]/anat."""
    parts = [dataset, f"sub-{subject}", f"ses-{session}" if session else "", "anat"]
    return "/".join(part for part in parts if part)


def key_of(row: Mapping[str, str]) -> tuple[str, str]:
    """Return (folder, file name prefix) of the session that a row of the scan table is from."""
    folder = session_folder(row["dataset"], row["subject"], row["session"])
    return folder, session_key(row["subject"], row["session"], int(row["group"]))


def volume_name(prefix: str, modality: str, space: str = "", description: str = "") -> str:
    """Return a BIDS file name: prefix[_ce-gadolinium][_space-S][_desc-D]_SUFFIX.nii.gz.

    >>> volume_name("sub-1", "T1Gd", "SRI24", "preproc")
    'sub-1_ce-gadolinium_space-SRI24_desc-preproc_T1w.nii.gz'
    """
    contrast = "_ce-gadolinium" if modality == "T1Gd" else ""
    suffix = "T1w" if modality == "T1Gd" else modality
    where = f"_space-{space}" if space else ""
    what = f"_desc-{description}" if description else ""
    return f"{prefix}{contrast}{where}{what}_{suffix}.nii.gz"


def mask_beside(image: Path) -> Path | None:
    """Return where BIDS derivatives keep the brain mask of a volume; None where its name has none.

    >>> mask_beside(Path("sub-1_run-2_desc-preproc_T1w.nii.gz")).name
    'sub-1_run-2_desc-brain_mask.nii.gz'
    """
    entities, found, _ = image.name.rpartition("_desc-preproc_")
    return image.with_name(f"{entities}_desc-brain_mask.nii.gz") if found else None


def stem(image: Path) -> str:
    """Return an image's file name without .nii or .nii.gz."""
    return image.name.split(".nii")[0]


def sidecar_path(volume: Path) -> Path:
    """Return where the JSON beside a volume (.nii or .nii.gz) lies."""
    return volume.with_name(volume.name.removesuffix(".gz").removesuffix(".nii") + ".json")
