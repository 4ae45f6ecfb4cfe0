"""Names of BIDS files: a name parses wholly, or it is said why not.

A name is entities, each a key, a hyphen and a label, then a suffix and an extension, all joined by
underscores. A label holds letters, digits and +; a hyphen, dot or underscore in it makes it
ambiguous, and so the name. Which entities mean that a file is a plain scan is in `why_not`.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

SUFFIXES = {"T1w": "T1w", "T2w": "T2w", "FLAIR": "FLAIR"}
IMAGES = (".nii.gz", ".nii")
LABEL = re.compile(r"[0-9a-zA-Z+]+", re.ASCII)
# The keys of every entity that BIDS 1.11 knows.
ENTITIES = frozenset(
    "sub tpl ses cohort sample task tracksys acq nuc voi ce trc stain rec dir run mod echo flip "
    "inv mt part proc hemi space split recording chunk atlas seg scale res den label desc".split()
)
_NUMBERED = ("run", "echo", "chunk", "inv", "flip", "split")
# A scan of the four modalities may differ from another one in these.
_PLAIN = ("sub", "ses", "task", "acq", "rec", "run")
LABEL_MAPS = ("mask", "dseg", "probseg", "roi", "lesion", "seg")
_WHAT = {
    "echo": "is one echo of several: combine them",
    "chunk": "is a part of a brain: join its chunks",
    "inv": "is one inversion of several",
    "flip": "is one flip angle of several",
    "mt": "is a part of a magnetisation transfer scan",
    "desc": "is a derivative",
    "space": "is a derivative, resampled",
    "res": "is a derivative, resampled",
    "mod": "belongs to a scan and is none",
    "label": "is a label map",
    "hemi": "is one hemisphere",
    "proc": "is a derivative",
}
_GADOLINIUM = re.compile(
    r"gad\w*|gd\w*|dotarem|clariscan|magnevist|multihance|omniscan|prohance|vueway|elucirem",
    re.ASCII | re.IGNORECASE,
)
_WITHOUT = re.compile(r"none|no|pre|precontrast|without", re.ASCII | re.IGNORECASE)
# What people call a scan after contrast agent who have no `ce-`; `acq-precontrast` is plain.
_PLAIN_TEXT = re.compile(r"(pre|non?|without)(contrast|gad\w*|gd|ce)", re.ASCII | re.IGNORECASE)
_CONTRAST = re.compile(r"post(?!erior)|contrast|gad|gd|^t1ce$|^ce$|\+c$", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Name:
    """A parsed name: labels by key in the order of the name, suffix, extension of an image."""

    entities: Mapping[str, str]
    suffix: str
    extension: str


class MalformedNameError(ValueError):
    """A name that BIDS does not allow, or that BIDS has no scan for; the text says why."""


def parse(name: str) -> Name:
    """Parse the name of an image, or of what ends in no extension of one.

    >>> parse("sub-01_ce-gadolinium_run-2_T1w.nii.gz")
    Name(entities={'sub': '01', 'ce': 'gadolinium', 'run': '2'}, suffix='T1w', extension='.nii.gz')

    Raises:
        MalformedNameError: the name does not parse wholly.
    """
    extension = next((each for each in IMAGES if name.endswith(each)), "")
    *pairs, suffix = name.removesuffix(extension).split("_")
    entities: dict[str, str] = {}
    for pair in pairs:
        key, hyphen, label = pair.partition("-")
        if not hyphen:
            raise MalformedNameError(
                f"'{pair}' in its name is no entity (key-label): a label holds letters, digits "
                "and + alone; rename it"
            )
        if key not in ENTITIES:
            raise MalformedNameError(f"BIDS has no entity '{key}-'; rename it")
        if key in entities:
            raise MalformedNameError(f"'{key}-' is there twice in its name; rename it")
        if not LABEL.fullmatch(label):
            raise MalformedNameError(
                f"label '{label}' of {key}- must be letters, digits and + alone; rename it"
            )
        if key in _NUMBERED and not label.isdigit():
            raise MalformedNameError(f"{key}-{label}: {key}- needs a number; rename it")
        entities[key] = label
    if not LABEL.fullmatch(suffix):
        raise MalformedNameError(f"'{suffix}' at the end of its name is no suffix; rename it")
    if next(iter(entities), "") != "sub":
        raise MalformedNameError("its name does not begin with sub-; rename it")
    return Name(entities, suffix, extension)


def modality_of(name: Name, suffixes: Mapping[str, str]) -> str:
    """Return the modality of a file by its name.

    Args:
        name: of the file.
        suffixes: further endings that a source takes for a modality: a suffix, before which any
            entities may stand that the name must have (acq-post_T1w). The longest that fits counts.

    Raises:
        MalformedNameError: it is a scan of none, with the reason.
    """
    fitting = [ending for ending in suffixes if _fits(name, ending)]
    if fitting:
        return suffixes[max(fitting, key=lambda ending: ending.count("_"))]
    if name.suffix not in SUFFIXES:
        if name.suffix in LABEL_MAPS:
            raise MalformedNameError(f"suffix {name.suffix} is a mask or label map, no scan")
        if name.suffix in anatomical_suffixes():
            raise MalformedNameError(f"suffix {name.suffix} is not used")
        raise MalformedNameError(
            f"unknown modality '{name.suffix}': name it T1w, T2w, FLAIR or ce-gadolinium_T1w as "
            "BIDS does, or move it out of anat/"
        )
    agent, acquired = name.entities.get("ce", "none"), name.entities.get("acq", "")
    if _WITHOUT.fullmatch(agent):
        if _CONTRAST.search(_PLAIN_TEXT.sub("", acquired)):
            likely = "T1Gd" if name.suffix == "T1w" else name.suffix
            raise MalformedNameError(
                f"acq-{acquired} may tell of a contrast agent: say what it is in the source "
                f"(suffixes: {{acq-{acquired}_{name.suffix}: {likely}}}), or name it ce-gadolinium"
            )
        return SUFFIXES[name.suffix]
    if not _GADOLINIUM.fullmatch(agent):
        raise MalformedNameError(
            f"contrast agent 'ce-{agent}' is not known: name it ce-gadolinium or ce-none, or say "
            f"what it is in the source (suffixes: {{ce-{agent}_{name.suffix}: T1Gd}})"
        )
    if name.suffix != "T1w":
        raise MalformedNameError(f"a {name.suffix} with contrast agent is none of the modalities")
    return "T1Gd"


def why_not(name: Name, state: str, suffixes: Mapping[str, str]) -> str:
    """Return which entity tells that a file is no scan as `state` has it; "" where none does.

    Args:
        name: of an image in anat/.
        state: of the source's scans; all but raw may be derivatives (desc-preproc), and those that
            lie on the atlas may say so (space-SRI24).
        suffixes: of `modality_of`; entities that they name are what the source says.
    """
    said = {
        pair.partition("-")[0]
        for ending in suffixes
        if _fits(name, ending)
        for pair in ending.split("_")[:-1]
    }
    for key, label in name.entities.items():
        if key in _PLAIN or key in said or key == "ce":
            continue
        if key == "part":
            if label == "mag":
                continue
            return f"part-{label} is no magnitude image"
        if key == "desc" and label == "preproc" and state != "raw":
            continue
        if key == "space" and state != "raw" and "desc" in name.entities:
            continue  # which of several spaces is chosen where all of them are known
        told = _WHAT.get(key, "makes it no plain scan")
        hint = ""
        if state == "raw" and key in ("desc", "space"):
            hint = "; give derivatives a source of their own, with state brain"
        return f"{key}-{label} {told}{hint}"
    if int(name.entities.get("run", "1")) < 1:
        return "run-0: runs are counted from 1 here; rename it"
    return ""


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts numbers in text by size: run-2 before run-11."""
    parts = re.split(r"(\d+)", text)
    return tuple((int(p), p) if p.isdigit() and p.isascii() else (-1, p) for p in parts)


def _fits(name: Name, ending: str) -> bool:
    *pairs, suffix = ending.split("_")
    has = {f"{key}-{label}" for key, label in name.entities.items()}
    return suffix == name.suffix and set(pairs) <= has


@functools.cache
def anatomical_suffixes() -> frozenset[str]:
    """Return every suffix that BIDS knows in `anat/`, used by this study or not."""
    from bidsschematools.schema import load_schema as load_bids  # 0.3 s; few folders need it

    kinds = load_bids().rules.files.raw.anat.values()
    return frozenset(suffix for kind in kinds for suffix in kind.suffixes)
