"""A full-size stand-in for BrainScape: its layout, its exact counts, its mess; tiny volumes.

    python -m benchmarks.stand_in FOLDER

writes a checkout with the datasets of `brainscape_datasets.csv` (counted from the dataset READMEs
of BrainScape d30747e, MIT): exact numbers of subjects, sessions and scans per modality, the known
aliases, the raw spellings of metadata and about the published share of missing values. How scans
are spread over a dataset's sessions, who is who and every metadata value are invented.
"""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np

from wfdm.seeds import generator_for

COUNTS = Path(__file__).with_name("brainscape_datasets.csv")
MODALITIES = ("t1w", "t2w", "t1ce", "flair")
SKULL = ("BCSP", "DPCASL", "LRES", "RSCEP", "SQFC")  # preprocessed without brain extraction
# First id and number of ids that a dataset has in common with others of the same first id.
SHARED = {"BDDR": (10000, 53), "BCMD": (10000, 53)}
SHARED |= {"EDBP": (20000, 112), "MAICY": (20000, 112), "NIMHC": (20000, 3)}
TWICE_IN_ABIDE2, ABIDE_IN_ABIDE2, CORR_IN_INDINKI, TWICE_IN_INDINKI = 14, 36, 6, 3

# Field: datasets that record it (a count is drawn), subjects who have it (BrainScape's lists).
RECORDED = {
    "age": (122, 20146),
    "age_group": (("HCP1200", "IDEAS", "MPLMBB", "PSED"), 1951),
    "sex": (127, 22268),
    "race": (19, 2801),
    "handedness": (37, 8093),
    "height": (7, 730),
    "weight": (7, 729),
    "BMI": (13, 2846),
    "education": (15, 2643),
    "socio_economic": (4, 1147),
    "stroke": (("ARCD",), 215),
    "schizophrenia": (("BCSP", "UCLAC", "WMHCI"), 432),
    "depression": (("CMDD", "NIMHC", "RSCEP"), 208),
    "ADHD": (("UCLAC", "WMRC"), 338),
    "BIPOLAR": (("UCLAC",), 262),
    "prosopagnosia": (("GOTD",), 73),
    "epilepsy": (("IDEAS", "LSFD", "TLED"), 568),
    "FCD": (("IDEAS", "PSED"), 521),
    "HS": (("IDEAS",), 353),
    "tumor": (("BRATS", "LSFD"), 1607),
    "acuteischaemicstroke": (("SOOP",), 1316),
    "DNT": (("IDEAS",), 353),
    "GL": (("IDEAS",), 353),
    "aneurysm": (("LTMAC",), 278),
    "ASD": (("ABIDE", "ABIDE2"), 1622),
}
ONLY_YES = ("stroke", "acuteischaemicstroke")
AGE_BINS = {
    "HCP1200": ("22-25", "26-30", "31-35", "36-40"),
    "IDEAS": ("20-24", "25-29", "30-34"),
    "MPLMBB": ("20-25", "25-30", "60-65"),
    "PSED": ("11-15", "16-20"),
}
SEXES = ("M F", "m f", "male female", "Male Female", "MALE FEMALE", "1 0", "Man Woman")
HANDS = ("R L A", "right left ambidextrous", "Right Left Ambidextrous", "RIGHT LEFT Ambi", "r l a")
MISSING = ("", "n/a", "N/A", "NA", "nan")
HEADERS = {
    "sex": ("sex", "Sex", "gender", "Gender"),
    "age": ("age", "Age"),
    "BMI": ("BMI", "bmi"),
    "handedness": ("handedness", "Handedness"),
    "FCD": ("FCD", "fcd"),
}
SLIPS = {("AOMIC", 473): "0", ("AOMIC", 852): "0", ("SOOP", 1263): "80.9", ("SOOP", 1406): "115.6"}


def counts() -> list[dict[str, str]]:
    """Return the rows of the table of counts."""
    with open(COUNTS, newline="") as stream:
        return list(csv.DictReader(stream))


def write(root: Path, datasets: Iterable[str] | None = None, seed: int = 0) -> None:
    """Write a stand-in checkout of all datasets, or of those named."""
    wanted = set(datasets) if datasets else None
    rows = [row for row in counts() if wanted is None or row["dataset"] in wanted]
    tiny = root / "tiny.nii.gz"
    root.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.arange(8, dtype=np.float32).reshape(2, 2, 2), np.eye(4)), tiny)
    people = _recorded(seed)
    record = {row["dataset"]: list(_dataset(root, row, people, tiny, seed)) for row in rows}
    (root / "BrainScape" / "dataset.json").write_text(json.dumps(record))
    (root / "config").mkdir()
    (root / "config" / "index.json").write_text(json.dumps({"exclude": ["ANCP", "ARS"]}))


def _dataset(
    root: Path, row: dict[str, str], people: dict, tiny: Path, seed: int
) -> Iterator[dict]:
    name = row["dataset"]
    folder = root / "BrainScape" / name
    (folder / "preprocessed").mkdir(parents=True)
    excluded = [f"sub-bad{number:03d}" for number in range(int(row["n_exclude"]))]
    rules = {"includeDataset": True, "mapping": {"plugin": "RegexMapper", "excludeSub": excluded}}
    (folder / "metadata.json").write_text(json.dumps(rules))
    subjects = _subjects(name, int(row["n_subj"]))
    recorded = _metadata(name, subjects, people, seed)
    if int(row["tsv_rows"]) and recorded:
        _participants(root / "demographics" / name, name, subjects, recorded, seed)
    for subject, session, group, modalities in _entries(row, subjects, seed):
        entry = _entry(name, subject, session, group, modalities)
        entry["demographics"] = {"participant_id": subject} | recorded.get(subject, {})
        _volumes(folder, entry, tiny)
        yield entry
    for subject in excluded:
        yield _entry(name, subject, "", 0, ["t1w"])


def _subjects(name: str, count: int) -> list[str]:
    """Return the subjects' names; the known aliases share theirs as they do in BrainScape."""
    if name == "BRATS":
        return [*_brats("training", 0, 1133, 118), *_brats("validation", 2000, 199, 20)]
    if name == "INDINKI":
        return [f"sub-M{10000 + i}" for i in range(count)]
    if name == "CORR":
        return [f"{25000 + i:07d}_baseline" for i in range(count)]
    if name == "ABIDE":
        return [f"{50000 + i:07d}" for i in range(count)]
    if name == "ABIDE2":
        single = count - TWICE_IN_ABIDE2
        names = [f"{50000 + i}" for i in range(ABIDE_IN_ABIDE2)]
        names += [f"{29000 + i}" for i in range(single - ABIDE_IN_ABIDE2)]
        return names + [f"{name}_followup" for name in names[-TWICE_IN_ABIDE2:]]
    if name in SHARED:
        first, shared = SHARED[name]
        own = 70000 + 1000 * list(SHARED).index(name)
        names = [f"sub-{first + i}" for i in range(shared)]
        return names + [f"sub-{own + i}" for i in range(count - shared)]
    if sum(map(ord, name)) % 2:  # bare numbers, which collide between datasets
        return [f"sub-{i + 1:02d}" for i in range(count)]
    return [f"sub-{name}{i + 1:04d}" for i in range(count)]


def _brats(part: str, first: int, patients: int, twice: int) -> list[str]:
    names = [f"{part}-BraTS-GLI-{first + i:05d}-000" for i in range(patients)]
    return names + [f"{name[:-1]}1" for name in names[:twice]]


def _entries(
    row: dict[str, str], subjects: list[str], seed: int
) -> Iterator[tuple[str, str, int, list[str]]]:
    """Yield (subject, session, group, modalities) with exactly the counts of `row`."""
    rng = generator_for(seed, "stand-in", row["dataset"])
    sessions = _sessions(subjects, int(row["n_sess"] or len(subjects)), rng)
    found: dict[tuple[str, str], dict[str, int]] = {key: {} for key in sessions}
    wanted = {name: int(row["t1gd" if name == "t1ce" else name]) for name in MODALITIES}
    for modality in sorted(MODALITIES, key=lambda name: -wanted[name]):
        order = [sessions[i] for i in rng.permutation(len(sessions))]
        order.sort(key=lambda key: bool(found[key]))  # sessions without a scan come first
        for number in range(wanted[modality]):
            key = order[number % len(order)]
            found[key][modality] = found[key].get(modality, 0) + 1
    for (subject, session), having in found.items():
        for group in range(max(having.values())):
            yield subject, session, group, [m for m in MODALITIES if having.get(m, 0) > group]


def _sessions(subjects: list[str], count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    if count == len(subjects):
        return [(subject, "") for subject in subjects]
    order = [subjects[i] for i in rng.permutation(len(subjects))]
    visits = [(order[i % len(order)], f"ses-{i // len(order) + 1}") for i in range(count)]
    return sorted(visits)


def _entry(name: str, subject: str, session: str, group: int, modalities: list[str]) -> dict:
    kind = "" if name == "BRATS" else "anat"
    stem = "_".join(part for part in (subject, session, f"run-{group + 1}") if part)
    folder = f"{subject}.{session}.{kind}.{group}"
    if name == "BRATS":
        made = {m: f"{folder}/{subject}-{m}_{m}.nii.gz" for m in modalities}
        if subject.startswith("training"):
            made["seg"] = f"{folder}/{subject}-seg_seg.nii.gz"
    else:
        flavour = "raw_skull" if name in SKULL else "norm_bet"
        made = {m: f"{folder}/norm_bet/{stem}_{flavour}_{m}.nii.gz" for m in modalities}
    return {
        "subject": subject,
        "session": session,
        "type": kind,
        "group": group,
        "mris": {m: f"{stem}_{m}.nii.gz" for m in made},
        "download": {m: f"{subject}/{session or 'anat'}/{stem}_{m}.nii.gz" for m in made},
        "preprocessed": made,
    }


def _volumes(folder: Path, entry: dict, tiny: Path) -> None:
    for path in entry["preprocessed"].values():
        target = folder / "preprocessed" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(tiny, target)


def _recorded(seed: int) -> dict[str, tuple[set[str], float]]:
    """Return, for each field, the datasets that record it and the share of their subjects."""
    rows = {row["dataset"]: int(row["n_subj"]) for row in counts() if row["in_snapshot"] == "1"}
    listed = [row["dataset"] for row in counts() if row["dataset"] in rows and int(row["tsv_rows"])]
    general = [name for name in listed if name != "BRATS"]
    found = {}
    for field, (where, subjects) in RECORDED.items():
        if isinstance(where, int):
            having = [n for n in general if not (field == "age" and n in AGE_BINS)]
            rng = generator_for(seed, "stand-in", "field", field)
            where = _draw(having, where, subjects, rows, rng)
            where += [name for name in ("AOMIC", "SOOP") if field == "BMI" and name not in where]
        total = sum(rows[name] for name in where)
        found[field] = (set(where), min(1.0, subjects / total))
    return found


def _draw(
    names: list[str], number: int, subjects: int, sizes: dict[str, int], rng: np.random.Generator
) -> list[str]:
    """Return `number` datasets with at least so many subjects in all."""
    while True:
        drawn = [names[i] for i in rng.permutation(len(names))[:number]]
        if sum(sizes[name] for name in drawn) >= subjects:
            return drawn


def _metadata(name: str, subjects: list[str], people: dict, seed: int) -> dict[str, dict[str, str]]:
    """Return what is recorded of each subject, in the raw spelling of its dataset."""
    rng = generator_for(seed, "stand-in", name, "metadata")
    sexes = SEXES[rng.integers(len(SEXES))].split()
    hands = HANDS[rng.integers(len(HANDS))].split()
    recorded: dict[str, dict[str, str]] = {}
    fields = [field for field, (where, _) in people.items() if name in where]
    for number, subject in enumerate(subjects):
        truth = {
            "age": f"{rng.uniform(6, 85):.1f}",
            "age_group": str(rng.choice(AGE_BINS.get(name, ("20-25",)))),
            "sex": str(rng.choice(sexes)),
            "race": str(rng.choice(list("1234578"))),
            "handedness": str(rng.choice(hands, p=[0.88, 0.1, 0.02])),
            "height": f"{rng.normal(1.7, 0.08):.2f}",
            "weight": f"{rng.normal(73, 12):.1f}",
            "BMI": SLIPS.get((name, number), f"{rng.uniform(17, 40):.1f}"),
            "education": str(rng.choice(["low", "medium", "high"])),
            "socio_economic": str(rng.choice(["low", "medium", "high"])),
        }
        known = {}
        for field in fields:
            slip = field == "BMI" and (name, number) in SLIPS
            answer = "Y" if field in ONLY_YES or name == "BRATS" else str(rng.choice(["Y", "N"]))
            if rng.random() < people[field][1] or slip:
                known[field] = truth.get(field, answer)
        recorded[subject] = known
    return recorded if fields else {}


def _participants(
    folder: Path, name: str, subjects: list[str], recorded: dict[str, dict[str, str]], seed: int
) -> None:
    rng = generator_for(seed, "stand-in", name, "participants")
    fields = sorted({field for known in recorded.values() for field in known})
    headers = {field: str(rng.choice(HEADERS.get(field, (field,)))) for field in fields}
    missing = str(rng.choice(MISSING))
    own = ["MR_ID", "ID"] if name == "INDINKI" else [str(rng.choice(["participant_id", "ID"]))]
    lines = ["\t".join([*own, *headers.values(), "site"])]
    for number, subject in enumerate(subjects):
        ids = [subject, _indinki_person(number)] if name == "INDINKI" else [subject]
        lines.append("\t".join([*ids, *(recorded[subject].get(f) or missing for f in fields), "x"]))
    folder.mkdir(parents=True)
    end = "\r\n" if rng.random() < 0.5 else "\n"
    (folder / "participants.tsv").write_bytes((end.join(lines) + end).encode())


def _indinki_person(number: int) -> str:
    """Return a 7-digit id: six are people of CORR, and three people have two scan folders."""
    person = number - 198 if number >= 201 - TWICE_IN_INDINKI else number
    return f"{25000 + person:07d}" if person < CORR_IN_INDINKI else f"{9000000 + person}"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
