"""Plan of the phantom cohort: who is scanned when, with which contrasts and recorded metadata."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import pandas as pd

from wfdm.config.cohort import Modality, PhantomDataset, PhantomSource
from wfdm.data.metadata import load_schema
from wfdm.data.paths import scan_id, session_folder, session_key, volume_name
from wfdm.data.table import columns
from wfdm.errors import UserError
from wfdm.seeds import generator_for

FOLLOW_UP_YEARS = 2.0
# Share of people whose record holds the field: most ages and sexes, the rest now and then.
RECORDED = {"age": 0.85, "sex": 0.9, "handedness": 0.4, "height": 0.35, "weight": 0.35}


@dataclass(frozen=True)
class Person:
    """The truth about one phantom person, recorded or not: it drives the anatomy."""

    age: float  # years at the first session, 20 to 85
    male: bool


def draw_person(seed: int, dataset: str, subject: str) -> Person:
    """Return the true age and sex of a person."""
    rng = generator_for(seed, "phantom", dataset, subject)
    return Person(age=float(rng.uniform(20.0, 85.0)), male=bool(rng.random() < 0.5))


def age_at(person: Person, session: str) -> float:
    """Return the person's true age in years at a session ("" and "1" are the first)."""
    return person.age + (FOLLOW_UP_YEARS if session == "2" else 0.0)


def dataset_named(source: PhantomSource, name: str) -> PhantomDataset:
    """Return the settings of one dataset; raise UserError when there is none of that name."""
    for dataset in source.datasets:
        if dataset.name == name:
            return dataset
    known = ", ".join(dataset.name for dataset in source.datasets)
    raise UserError(f"sources: the phantom cohort has no dataset '{name}'; there is {known}")


def plan(source: PhantomSource, seed: int, raw_root: str) -> pd.DataFrame:
    """Return the scan table (all columns, text) of the phantom cohort.

    Every session has a T1w scan. Each other contrast is given to exactly round(share * sessions)
    sessions of its dataset, chosen by seed. `path` is where `synthesise_session` will write.

    Raises:
        UserError: for a dataset's name that is repeated or not letters and digits, more second
            sessions than people, or a share of T1w below 1.
    """
    _check(source)
    rows = [row for dataset in source.datasets for row in _rows(dataset, seed, raw_root)]
    return pd.DataFrame(rows, columns=list(columns()))


def _check(source: PhantomSource) -> None:
    names = [dataset.name for dataset in source.datasets]
    for dataset in source.datasets:
        where = f"sources: phantom dataset '{dataset.name}'"
        if not re.fullmatch(r"[A-Za-z0-9]+", dataset.name):
            raise UserError(f"{where}: name it with letters and digits only")
        if names.count(dataset.name) > 1:
            raise UserError(f"{where} is there twice: give each dataset its own name")
        if dataset.second_sessions > dataset.people:
            raise UserError(
                f"{where}: second_sessions is {dataset.second_sessions}, "
                f"more than its {dataset.people} people: lower it"
            )
        if dataset.modalities.get("T1w", 1.0) < 1.0:
            raise UserError(f"{where}: every session has a T1w: set modalities.T1w to 1")


def _sessions(dataset: PhantomDataset, seed: int) -> list[tuple[str, str]]:
    subjects = [f"{number:03d}" for number in range(1, dataset.people + 1)]
    if not dataset.second_sessions:
        return [(subject, "") for subject in subjects]
    order = generator_for(seed, "phantom", dataset.name, "second sessions").permutation(subjects)
    twice = set(order[: dataset.second_sessions])
    return [(s, session) for s in subjects for session in (("1", "2") if s in twice else ("1",))]


def _rows(dataset: PhantomDataset, seed: int, raw_root: str) -> Iterator[dict[str, str]]:
    sessions = _sessions(dataset, seed)
    having = {m: _having(dataset, m, len(sessions), seed) for m in get_args(Modality)}
    for index, (subject, session) in enumerate(sessions):
        metadata = _metadata(dataset, seed, subject, session)
        for modality in get_args(Modality):
            if index in having[modality]:
                yield _identity(dataset.name, subject, session, modality, raw_root) | metadata


def _having(dataset: PhantomDataset, modality: Modality, sessions: int, seed: int) -> set[int]:
    share = 1.0 if modality == "T1w" else dataset.modalities.get(modality, 0.0)
    order = generator_for(seed, "phantom", dataset.name, "having", modality).permutation(sessions)
    return set(order[: round(share * sessions)].tolist())


def _identity(
    dataset: str, subject: str, session: str, modality: str, raw_root: str
) -> dict[str, str]:
    folder = session_folder(dataset, subject, session)
    name = volume_name(session_key(subject, session, 0), modality)
    return {
        "scan_id": scan_id(dataset, subject, session, 0, modality),
        "dataset": dataset,
        "person": f"{dataset}/{subject}",
        "subject": subject,
        "session": session,
        "group": "0",
        "modality": modality,
        "path": f"{raw_root}/{folder}/{name}",
        "state": "raw",
    }


def _metadata(dataset: PhantomDataset, seed: int, subject: str, session: str) -> dict[str, str]:
    """Return the 25 fields as recorded, "" where not; the same holes in both sessions."""
    person = draw_person(seed, dataset.name, subject)
    rng = generator_for(seed, "phantom", dataset.name, subject, "metadata")
    height = rng.normal(1.76 if person.male else 1.63, 0.065)
    weight = rng.normal(25.5, 3.0) * height**2
    truth = {
        "age": f"{age_at(person, session):.1f}",
        "sex": "male" if person.male else "female",
        "handedness": str(rng.choice(["R", "L", "A"], p=[0.88, 0.1, 0.02])),
        "height": f"{height:.2f}",
        "weight": f"{weight:.1f}",
    }
    fields = {name: "" for name in load_schema().names}
    fields |= {name: text for name, text in truth.items() if rng.random() < RECORDED[name]}
    if fields["height"] and fields["weight"]:
        fields["BMI"] = f"{weight / height**2:.1f}"
    if dataset.lesions:
        fields["tumor"] = "yes"
    return fields
