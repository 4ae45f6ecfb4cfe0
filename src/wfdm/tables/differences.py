"""How a study differs from the paper's, config/config.yaml: every key that can change a number.

Nothing here is a list kept by hand: the two studies are compared key by key, so a new key of the
configuration is told by itself. Keys that change no number, and labels, are left out.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
from pydantic_core import to_jsonable_python

from wfdm.config.base import Section
from wfdm.config.study import ROWS, Study

LEFT_OUT, NONE = "left out", "none"
DEFAULT = "default"
"""a section in which no key is set"""
FEW = 3
"""so many differences of a section are told with their values in a note, more by their names"""
LONG = 24
"""characters of a value in a note"""
FILE = "differences.csv"
NOTHING: Mapping[str, str] = MappingProxyType({})


class Difference(NamedTuple):
    """One key that differs.

    Attributes:
        key: its path in the configuration, ("split", "train").
        study: this study's value as text; `LEFT_OUT` for a row that only the paper's has.
        paper: the paper's study's value; `NONE` for a row that only this study has.
        origin: where the latter comes from: the paper, the authors' code, or our choice.
    """

    key: tuple[str, ...]
    study: str
    paper: str
    origin: str


def differences(study: Study, absent: Mapping[str, str] = NOTHING) -> list[Difference]:
    """Return every difference, in the order of the configuration; none for the paper's study.

    Args:
        study: to be compared.
        absent: compressors that are left out, and the weights' file that is not placed.
    """
    placed = {name: row for name, row in study.compressors.items() if name not in absent}
    ours = study.model_copy(update={"compressors": placed})
    found = list(_compared((), _paper(), ours, ""))
    # What all trainings share is told once.
    shared = {each.key[1:]: each[1:3] for each in found if each.key[0] == "compressor_training"}
    why = {f"compressors.{name}": f"{LEFT_OUT}: {absent[name]} is not placed" for name in absent}
    return [
        each._replace(study=why.get(".".join(each.key), each.study))
        for each in found
        if each.key[0:3:2] != ("compressors", "training") or shared.get(each.key[3:]) != each[1:3]
    ]


@cache
def _paper() -> Study:
    return Study()


def table(found: Sequence[Difference]) -> pd.DataFrame:
    """Return the differences with columns section, key, study, paper, origin."""
    columns = ["section", "key", "study", "paper", "origin"]
    rows = [(each.key[0], ".".join(each.key), *each[1:]) for each in found]
    return pd.DataFrame(rows, columns=columns)


def note(found: Sequence[Difference]) -> str:
    """Tell the differences in one line, section by section; "" where there are none.

    Of a section that differs in many keys only their names are told, and of a row's or
    subsection's keys just that row or subsection; `FILE` has their values.
    """
    parts, short = [], False
    for section, grouped in groupby(found, lambda each: each.key[0]):
        group = list(grouped)
        few = len(group) <= FEW
        words = list(dict.fromkeys(map(_with_values if few else _name, group)))
        parts.append(words[0] if group[0].key == (section,) else f"{section}: {', '.join(words)}")
        short |= not few
    return "; ".join([*parts, *([f"values: {FILE}"] if short else [])])


def _name(each: Difference) -> str:
    return _row(each) or each.key[1]


def _with_values(each: Difference) -> str:
    if row := _row(each):
        return row
    return f"{'.'.join(each.key[1:] or each.key)} {_brief(each.study)}, not {_brief(each.paper)}"


def _row(each: Difference) -> str:
    """Return what is said of a whole row that one of the studies has not; "" of other keys."""
    if each.key[0] not in ROWS or len(each.key) != 2:
        return ""
    return f"{'also' if each.paper == NONE else 'without'} {each.key[1]}"


def _brief(text: str) -> str:
    """Return a value as it is, or what stands before it in short."""
    return text if len(text) <= LONG else text.partition(": ")[0]


def _compared(key: tuple[str, ...], paper: Any, study: Any, origin: str) -> Iterator[Difference]:
    if isinstance(paper, Section) and type(paper) is type(study):
        for name in paper.counted():
            inner = getattr(paper, name), getattr(study, name)
            yield from _compared((*key, name), *inner, paper.reason(name) or "")
    elif isinstance(paper, dict) and isinstance(study, dict):
        for name in [*paper, *(name for name in study if name not in paper)]:
            if name in paper and name in study:
                yield from _compared((*key, name), paper[name], study[name], origin)
            elif name in paper:
                yield Difference((*key, name), LEFT_OUT, _text(paper[name]), origin)
            else:
                yield Difference((*key, name), _text(study[name]), NONE, "")
    elif _alike(paper, study):
        for place, inner in enumerate(zip(paper, study, strict=True)):
            yield from _compared((*key, str(place)), *inner, origin)
    elif _plain(paper) != _plain(study):
        yield Difference(key, _text(study), _text(paper), origin)


def _alike(paper: Any, study: Any) -> bool:
    """Tell whether both are lists of sections, as many and of the same kinds."""
    if not (isinstance(paper, list) and isinstance(study, list) and paper):
        return False
    kinds = [[type(each) for each in every] for every in (paper, study)]
    return kinds[0] == kinds[1] and all(issubclass(kind, Section) for kind in kinds[0])


def _text(value: Any) -> str:
    """Return a value as text; of sections first their kinds, then the keys that are set."""
    plain = _plain(value)
    if isinstance(plain, str):
        return plain
    text = json.dumps(plain, ensure_ascii=False)
    every = value if isinstance(value, list) else [value]
    if not any(isinstance(each, Section) for each in every):
        return text
    kinds = " + ".join(
        getattr(each, "called", each.kind) for each in every if hasattr(each, "kind")
    )
    return ": ".join(filter(None, [kinds, text if plain else ""])) or DEFAULT


def _plain(value: Any) -> Any:
    """Return a value as JSON; of a section the counted keys that are not at their default."""
    if isinstance(value, Section):
        fields = type(value).model_fields
        kept = {name: getattr(value, name) for name in value.counted()}
        return {
            name: _plain(each)
            for name, each in kept.items()
            if fields[name].is_required() or each != fields[name].get_default()
        }
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return to_jsonable_python(value)
