"""How a study differs from the paper's, in one line: the `note` of its tables."""

from typing import Any

from wfdm.config.cohort import PhantomSource
from wfdm.config.study import ROWS, Study


def differences(study: Study) -> str:
    """Tell in one line where `study` departs from the paper; "" where it does not."""
    paper = Study.model_validate({})
    told = []
    if any(isinstance(source, PhantomSource) for source in study.sources):
        told.append("phantom cohort, not BrainScape")
    if study.split.rule == "published":
        told.append("divided by the authors' rule, which leaks people (data/leaks.tsv)")
    if (study.volume.shape, study.preprocess.spacing) != (
        paper.volume.shape,
        paper.preprocess.spacing,
    ):
        size = "x".join(map(str, study.volume.shape))
        told.append(f"{size} voxels of {study.preprocess.spacing:g} mm, not 192x224x160 of 1 mm")
    if study.preprocess.extractor != paper.preprocess.extractor:
        told.append(f"brain extraction by {study.preprocess.extractor}, not HD-BET")
    if any(_rows_differ(study, paper, rows) for rows in ROWS):
        told.append("sizes or training of the models are not the paper's")
    if study.evaluation.features.weights is None:
        told.append("features from an untrained stand-in, not MedicalNet")
    return "; ".join(told)


def _rows_differ(study: Study, paper: Study, section: str) -> bool:
    """Tell whether a row that the paper has too is set otherwise; its label is no setting."""
    ours, theirs = (_settings(each, section) for each in (study, paper))
    return any(theirs.get(name, settings) != settings for name, settings in ours.items())


def _settings(study: Study, section: str) -> dict[str, Any]:
    return {name: row.model_dump() for name, row in getattr(study, section).items()}
