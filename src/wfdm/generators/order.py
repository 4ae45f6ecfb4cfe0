"""A cohort to order: a table of requests, a row for each volume."""

import re
from dataclasses import replace
from pathlib import Path

from wfdm.data.metadata import age_group_of, canonical, load_schema
from wfdm.data.table import check_modality, read_table, rows_of
from wfdm.errors import UserError
from wfdm.generators.protocol import Request

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")


def default_name(number: int) -> str:
    """Return the name of volume `number`, from 1, where none is given."""
    return f"sub-synthetic{number:04d}"


def read_order(table: Path) -> list[Request]:
    """Read a table of requests.

    Args:
        table: TSV with the column modality, and where wanted name and any metadata field; an empty
            cell is a field that is not recorded, or a name by the row's number. Two rows of one
            name and two modalities start from the same noise.

    Raises:
        UserError: a column or a modality that is unknown, a value that its field does not take, a
            name that cannot begin a file's or that two rows of one modality have, or no row.
    """
    listed = read_table(table)
    fields = {field.name: field for field in load_schema().fields}
    known = ("modality", "name", *fields)
    if "modality" not in listed.columns or listed.empty:
        raise UserError(f"{table}: needs the column modality, and a row for each volume")
    if unknown := [column for column in listed.columns if column not in known]:
        raise UserError(f"{table}: no metadata field '{unknown[0]}'; there is {', '.join(fields)}")
    requests: dict[tuple[str, str], Request] = {}
    for number, row in enumerate(rows_of(listed), start=1):
        where = f"{table}, row {number}"
        check_modality(row["modality"], where)
        name = row.get("name") or default_name(number)
        if not NAME.fullmatch(name):
            raise UserError(f"{where}: '{name}' names a file: use letters, digits, -, + and _ only")
        if (key := (name, row["modality"])) in requests:
            raise UserError(f"{where}: there is a {key[1]} of '{name}' already; give it its own")
        metadata = {
            field: text
            for field in fields
            if (text := canonical(fields[field], row.get(field), where))
        }
        requests[key] = Request(name, row["modality"], metadata)
    return list(requests.values())


def with_age_group(request: Request) -> Request:
    """Return a request with the age group of its age, where it names none, as the index has it."""
    age, named = (str(request.metadata.get(field, "")) for field in ("age", "age_group"))
    group = named or age_group_of(age)
    return replace(request, metadata={**request.metadata, "age_group": group}) if group else request
