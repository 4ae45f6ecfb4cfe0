"""The note of a table: the differences in those keys that its numbers come from.

Which keys these are is not said again here: every stage says what it reads. So an edit that makes
nothing of a table run again does not change its note either.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from wfdm.stages import rows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from wfdm.config.study import Study

INDEXED = ("index", "split")
PREPROCESSED = ("phantom", "preprocess", "volumes")
COMPRESSED = (*INDEXED, *PREPROCESSED, "mean_volumes", "train_compressor")
SYNTHESISED = (
    *COMPRESSED,
    *("encode", "latents", "train_denoiser", "pairs", "distil", "sample_test"),
    *("features", "diversity", "synthesis"),
)
STAGES = {
    "table1": INDEXED,
    "table3": (*COMPRESSED, "floors", "reconstruction"),
    "table4": (*SYNTHESISED, "train_gan"),
    "table5": SYNTHESISED,
    "table6": ("benchmark",),  # a time does not depend on what a model learned
    "table7": ("benchmark",),
}
"""the stages that a table's numbers come from"""
INPUTS = {"people.aliases": ("index",), "denoisers.{denoiser}.compressor": ("encode", "benchmark")}
"""keys that are in no stage's settings, for they only name an input of these"""


def note_of(study: Study, absent: Mapping[str, str], table: str) -> str:
    """Return how a table's study differs from the paper's, in one line; "" where it does not.

    Args:
        study: what is made.
        absent: compressors that are left out, and the weights' file that is not placed.
        table: of `STAGES`.
    """
    from wfdm.tables.differences import differences, note

    used = _used(study, table)
    paths = [path.split(".") for path in keys_of(table)]
    found = differences(study, absent)
    return note([each for each in found if any(_reached(each.key, path, used) for path in paths)])


def keys_of(table: str) -> list[str]:
    """Return the keys of the study that a table's numbers come from; rows as {compressor}."""
    stages = (import_module(f"wfdm.stages.{stage}") for stage in STAGES[table])
    read = [path for stage in stages for path in stage.Settings.paths.values()]
    named = [key for key, stages in INPUTS.items() if set(stages) & set(STAGES[table])]
    keys = [path for path in [*read, *named] if not path.startswith("{")]
    if "train_compressor" in STAGES[table]:
        keys.append("compressor_training")  # what the compressors' trainings are completed with
    return list(dict.fromkeys(keys))


def _used(study: Study, table: str) -> dict[str, Collection[str] | None]:
    """Return the rows that a table is made of, by placeholder; None: all that there are."""
    used: dict[str, Collection[str] | None] = {"{compressor}": None, "{generator}": None}
    of_table = {
        "table4": rows.table4,
        "table5": lambda study: rows.table5(study).values(),
        "table6": rows.table6,
        "table7": lambda study: rows.table7(study).values(),
    }
    if table not in of_table:
        return used
    names = set(of_table[table](study))
    made = [study.generators[name] for name in names]
    named = {row.denoiser for row in made if row.kind == "diffusion"}
    students = {name for name in named if name in study.distilled}
    teachers = {study.distilled[name].denoiser for name in students}
    denoisers = named - students | teachers
    compressors = {study.denoisers[name].compressor for name in denoisers}
    compressors |= {row.compressor for row in made if row.kind in ("noise", "reconstruction")}
    gans = {row.gan for row in made if row.kind == "gan"}
    return {
        "{compressor}": compressors,
        "{denoiser}": denoisers,
        "{distilled}": students,
        "{gan}": gans,
        "{generator}": names,
    }


def _reached(
    key: tuple[str, ...], path: list[str], used: Mapping[str, Collection[str] | None]
) -> bool:
    """Tell whether a key is what a path names, a part of it, or holds it."""
    for part, step in zip(key, path, strict=False):
        names = used.get(step, (step,))
        if names is not None and part not in names:
            return False
    return True
