"""From a row of a list of participants to the schema's fields: codes, units, spellings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wfdm.data.codebook import Codebook, Column, is_code
from wfdm.data.metadata import Field, ImplausibleValueError, canonical, is_missing, load_schema
from wfdm.data.quantities import number_of
from wfdm.errors import UserError

if TYPE_CHECKING:
    from wfdm.config.cohort import FieldSource

FIELD_ALIASES = {"gender": "sex"}


@dataclass(frozen=True)
class _Given:
    """Where a field stands: its column, what the codebook says of it, what the source says."""

    column: str
    about: Column
    values: Mapping[str, str]
    unit: str


class Reader:
    """Reads the fields of a table's rows.

    Args:
        columns: of the table, as they are spelled.
        codebook: of the table.
        fields: what the source says of single fields, before all else.
        bare_codes: whether a number may stand for a category without a codebook, as in
            BrainScape's lists, whose codes the schema knows.
        where: names the table, for messages.

    Raises:
        UserError: two columns are one field, or `fields` names no field of the schema.
    """

    def __init__(
        self,
        columns: Sequence[str],
        codebook: Codebook,
        fields: Mapping[str, FieldSource],
        bare_codes: bool,
        where: str,
    ) -> None:
        self.bare_codes = bare_codes
        named = _field_columns(columns, where)
        self.given: dict[str, _Given] = {}
        for each in load_schema().fields:
            told = fields.get(each.name)
            column = _spelled(told.column, columns) if told else named.get(each.name)
            if column is None:
                continue
            about = codebook.of(column)
            values = told.values if told else {}
            self.given[each.name] = _Given(
                column, about, values, (told.unit if told else "") or about.units
            )

    def read(self, cells: Mapping[str, str], where: str) -> tuple[dict[str, str], list[str]]:
        """Return {field: canonical text, "" where it is not recorded}, and notes on what changed.

        Raises:
            UserError: a cell says what neither schema nor codebook nor source knows; the message
                does not tell its value.
        """
        found, notes = dict.fromkeys(load_schema().names, ""), []
        for each in load_schema().fields:
            if given := self.given.get(each.name):
                found[each.name], note = self._cell(each, given, cells[given.column], where)
                notes += [note] if note else []
        return found, notes

    def _cell(self, field: Field, given: _Given, cell: str, where: str) -> tuple[str, str]:
        if given.values:
            cell = _listed(field, given, cell, where)
        elif (meaning := given.about.meaning(cell)) is not None and is_missing(meaning):
            return "", ""
        if is_missing(cell):
            return "", ""
        if field.kind == "numeric":
            return _number(field, cell, given.unit, where)
        if given.values:
            return canonical(field, cell, where), ""
        return self._category(field, given, cell, where), ""

    def _category(self, field: Field, given: _Given, cell: str, where: str) -> str:
        meaning = given.about.meaning(cell)
        if meaning is None and is_code(cell) and not self.bare_codes:
            raise UserError(
                f"{where}: {field.name} is a bare code that no codebook explains: say what the "
                f"codes of column '{given.column}' mean in the .json beside the table (Levels), or "
                f"in the source (fields: {field.name})"
            )
        if meaning is None:
            return canonical(field, cell, where)
        try:
            return canonical(field, meaning, where)
        except UserError:
            if is_code(cell):
                raise UserError(
                    f"{where}: {field.name}: what the Levels of column '{given.column}' say is in "
                    f"no known spelling; known are {', '.join(field.values)}: correct them, add "
                    "their spelling to config/metadata.yaml, or say it in the source "
                    f"(fields: {field.name})"
                ) from None
            return canonical(field, cell, where)  # {"F": "Female participant"}: F says enough


def check_fields(fields: Mapping[str, FieldSource]) -> None:
    """Raise UserError where a source's `fields` name a field or a value that the schema lacks."""
    known = {field.name: field for field in load_schema().fields}
    for name, told in fields.items():
        if name not in known:
            raise UserError(f"sources: fields: there is no field '{name}'; use {', '.join(known)}")
        for value in told.values.values():
            if known[name].kind != "numeric":
                canonical(known[name], value, f"sources: fields.{name}.values: '{value}'")


def field_named(column: str) -> str | None:
    """Return the schema's field that a column (or key) of any spelling is, if it is one."""
    by_lower = {name.lower(): name for name in load_schema().names} | FIELD_ALIASES
    return by_lower.get(column.strip().lower())


def _number(field: Field, cell: str, unit: str, where: str) -> tuple[str, str]:
    number = number_of(field.name, cell, unit, where)
    try:
        return canonical(field, number.text, where), number.note
    except ImplausibleValueError:
        limits = "{:g} to {:g}".format(*(field.range or ()))
        return "", f"{field.name} is outside {limits}: taken as not recorded"


def _listed(field: Field, given: _Given, cell: str, where: str) -> str:
    """Return what the source says that a cell means; what is missing need not be listed."""
    lower = {code.lower(): value for code, value in given.values.items()}
    found = given.values.get(cell, lower.get(cell.lower(), "" if is_missing(cell) else None))
    if found is None:
        raise UserError(
            f"{where}: column '{given.column}' holds what fields.{field.name}.values of the source "
            "does not list: add it there"
        )
    return found


def _spelled(name: str, columns: Sequence[str]) -> str | None:
    """Return a column as its table spells it; None where there is none of that name."""
    return next((each for each in columns if each.lower() == name.strip().lower()), None)


def _field_columns(columns: Sequence[str], where: str) -> dict[str, str]:
    """Return {field: column}."""
    found: dict[str, str] = {}
    for column in columns:
        name = field_named(column)
        if name in found:
            raise UserError(f"{where}: columns '{found[name]}' and '{column}' are both {name}")
        if name:
            found[name] = column
    return found
