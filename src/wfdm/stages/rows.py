"""Which rows the tables of a study have, and what each of them is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from wfdm.config.study import Study


def resolved(study: Study, absent: Collection[str], unplaced: Collection[str] = ()) -> Study:
    """Return the study with each denoiser on a compressor that is there, if it names a second.

    Published systems that cannot run are no rows of it.

    Args:
        study: as it is configured.
        absent: compressors whose published weights are not placed.
        unplaced: generators of which something is not placed.
    """
    denoisers = {
        name: row.model_copy(update={"compressor": row.otherwise})
        if row.compressor in absent and row.otherwise
        else row
        for name, row in study.denoisers.items()
    }
    generators = {name: row for name, row in study.generators.items() if name not in unplaced}
    return study.model_copy(update={"denoisers": denoisers, "generators": generators})


def table2(study: Study) -> list[str]:
    """Return the generators of table 2: models, no references."""
    alone = {key for key, row in study.schedulers.items() if row.generator == key}
    return [name for name in _models(study) if name not in alone]


def table4(study: Study) -> list[str]:
    """Return the generators of tables 4 and 12 to 15: models, then references.

    One that is named as its row of table 5 stands there alone.
    """
    return [*table2(study), *references(study)]


def table6(study: Study) -> list[str]:
    """Return the generators of table 6: models that make volumes when they are asked."""
    return [name for name in table2(study) if study.generators[name].kind != "folder"]


def table5(study: Study) -> dict[str, str]:
    """Return the generator of each row of tables 5 and 16 to 19, by the row's key."""
    return table7(study) | {name: name for name in references(study)}


def table7(study: Study) -> dict[str, str]:
    """Return the generator of each row of table 7, by the row's key."""
    return {key: row.generator for key, row in study.schedulers.items()}


def draws(study: Study) -> dict[str, list[str]]:
    """Return the generators that differ in nothing but name, label and draw, by the first of them.

    A sample's noise is drawn by the draw's number, or where a row has none by its name, so these
    are draws of one and the same. Only those with several are returned.
    """
    families: dict[str, list[str]] = {}
    for name in table2(study):
        same = study.generators[name].model_dump_json(exclude={"label", "draw"})
        families.setdefault(same, []).append(name)
    return {names[0]: names for names in families.values() if len(names) > 1}


def few_steps(study: Study) -> list[str]:
    """Return the generators of table A4: of one denoiser and its students."""
    assert study.few_steps is not None
    teacher = study.few_steps.denoiser
    students = {name for name, row in study.distilled.items() if row.denoiser == teacher}
    return [
        name
        for name, row in study.generators.items()
        if row.kind == "diffusion" and row.denoiser in {teacher, *students}
    ]


def known_copies(study: Study) -> list[str]:
    """Return the generator that puts scans through the compressor of the audit of memorisation.

    Training scans through it are known copies. None where the study has no such generator.
    """
    assert study.memorisation is not None
    compressor = study.memorisation.compressor
    found = [
        name
        for name, row in study.generators.items()
        if row.kind == "reconstruction" and row.compressor == compressor
    ]
    return found[:1]


def _models(study: Study) -> list[str]:
    from wfdm.config.generators import MODELS

    return [name for name, row in study.generators.items() if row.kind in MODELS]


def references(study: Study) -> list[str]:
    """Return the generators that stand for no model: real scans, and what is made of them."""
    models = set(_models(study))
    return [name for name in study.generators if name not in models]
