"""Lists of participants and sessions: strict cells, the codebook, units, encodings, both ways."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfdm.config.cohort import BidsSource
from wfdm.config.files import parse
from wfdm.data import metadata
from wfdm.data.metadata import canonical, load_schema
from wfdm.data.quantities import number_of
from wfdm.data.sources.bids import plan
from wfdm.data.tsv import read_tsv
from wfdm.errors import UserError

CASES = Path(__file__).parents[3] / "shared" / "cases"
shared = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not on this machine")


def case(name: str, root: Path, *more: str) -> Path:
    subprocess.run([sys.executable, CASES / f"{name}.py", root, *more], check=True)
    return root


def lab(root: Path, table: str | bytes, book: dict | None = None, *subjects: str) -> BidsSource:
    for subject in subjects or ("01", "02"):
        anat = root / f"sub-{subject}" / "anat"
        anat.mkdir(parents=True, exist_ok=True)
        (anat / f"sub-{subject}_T1w.nii.gz").write_bytes(b"x")
    content = table.encode() if isinstance(table, str) else table
    (root / "participants.tsv").write_bytes(content)
    if book is not None:
        (root / "participants.json").write_text(json.dumps(book))
    return BidsSource(kind="bids", path=str(root))


def fields(source: BidsSource, name: str) -> list[str]:
    return plan(source).scans[name].tolist()


def notes(source: BidsSource) -> list[str]:
    return [each.reason for each in plan(source).findings if each.outcome == "note"]


def refused(source: BidsSource) -> str:
    with pytest.raises(UserError) as caught:
        plan(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the table ---------------------------------------------------------------------------------

ROWS = st.lists(
    st.lists(st.text("ab\"' ,;é|#01", max_size=5), min_size=3, max_size=3), min_size=1, max_size=5
)


@given(
    ROWS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.sampled_from(["\n", "\r\n", "\r"])
)
def test_cells_come_back_as_they_were_written(tmp_path_factory, rows, encoding, end):
    path = tmp_path_factory.getbasetemp() / "table.tsv"
    lines = ["\t".join(cells) for cells in [["a", "b", "c"], *rows]]
    path.write_bytes(end.join([*lines, ""]).encode(encoding))
    found = [list(row.cells.values()) for row in read_tsv(path).rows]
    stripped = [[cell.strip() for cell in cells] for cells in rows]
    assert found == [cells for cells in stripped if any(cells)]


@shared
def test_ragged_tsv(tmp_path):
    case("ragged_tsv", tmp_path)

    def of(name: str) -> BidsSource:
        return BidsSource(kind="bids", path=str(tmp_path / name))

    for name, line, cells, wanted in (
        ("TRAILING", 2, 4, 3),
        ("TRAILING2", 2, 3, 2),
        ("LONG", 3, 4, 3),
        ("SHORT", 3, 2, 3),
    ):
        told = f"participants.tsv, line {line}: {cells} cells, but the header has {wanted}"
        assert told in refused(of(name))
    assert "column 'participant_id' is there twice" in refused(of("TWICE"))
    assert fields(of("QUOTE"), "age") == ["21", "22", "23"]
    assert fields(of("STUB"), "age") == ["21", "22", "23"]
    assert "participants.tsv, line 3: an empty row" in notes(of("STUB"))


TABLES = {
    "id\tage\tsex\nsub-01\t21": "line 2: 2 cells",
    "": "the table is empty",
    "age\tsex\n21\tF\n": "no column participant_id",
    "participant_id,age\nsub-01,21\n": "no column participant_id: are its cells separated by tabs",
    "participant_id\tage\n\t21\n": "line 2: no participant_id",
    "participant_id\tage\tAGE\nsub-01\t21\t21\n": "column 'age' is there twice",
    "participant_id\tsex\tgender\nsub-01\tF\tF\n": "columns 'sex' and 'gender' are both sex",
    "participant_id\t\tage\nsub-01\tx\t21\n": "column 2 holds values but has no name",
    "participant_id\tage\nsub-01\told\n": "sub-01: age is not a number",
    "participant_id\tage\nsub-01\t1_0\n": "sub-01: age is not a number",
    "participant_id\tage\nsub-01\tinf\n": "sub-01: age is not a number",
    "participant_id\tage\nsub-01\t1,234\n": "the comma in age may be a decimal one",
    "participant_id\tsex\nsub-01\t1\n": "sub-01: sex is a bare code that no codebook explains",
    "participant_id\trace\nsub-01\t3\n": "sub-01: race is a bare code that no codebook explains",
    "participant_id\thandedness\nsub-01\t1.0\n": "handedness is a bare code",
    "participant_id\tsex\nsub-01\tFemme\n": "sub-01: sex is in no known spelling",
    b"participant_id\tsex\nsub-01\tF\xe9m\n": "line 2: not UTF-8; save the table as UTF-8",
    b"p\0a\0r\0": "UTF-16 without its mark",
    b"\xff\xfep\0a": "not UTF-16",
}


@pytest.mark.parametrize("table", TABLES)
def test_bad_tables_are_one_line(tmp_path, table):
    told = refused(lab(tmp_path / "A", table))
    assert TABLES[table] in told and "participants.tsv" in told


BOOKS = {
    "{": "cannot be read as JSON",
    "[1]": "a codebook is a mapping",
    '{"sex": {"Levels": ["M", "F"]}}': "Levels is no mapping",
    '{"age": {"Units": 3}}': "Units is no text",
    '{"age": {"Units": "fortnights"}}': "age has the unit 'fortnights'; known are years",
    '{"sex": {"Levels": {"2": "the second"}}}': "what the Levels of column 'sex' say",
}


@pytest.mark.parametrize("book", BOOKS)
def test_bad_codebooks_are_one_line(tmp_path, book):
    source = lab(tmp_path / "A", "participant_id\tsex\tage\nsub-01\t2\t21\n")
    (tmp_path / "A/participants.json").write_text(book)
    assert BOOKS[book] in refused(source)


# --- codes, units, numbers -----------------------------------------------------------------------


@shared
def test_codebook(tmp_path):
    case("codebook", tmp_path)
    found = {
        name: plan(BidsSource(kind="bids", path=str(tmp_path / name))).scans
        for name in ("MFIRST", "FFIRST", "INFANTS")
    }
    assert found["MFIRST"]["sex"].tolist() == ["male", "female"]
    assert found["FFIRST"]["sex"].tolist() == ["female", "male"]
    assert found["INFANTS"]["sex"].tolist() == ["female", "male"]
    ages = [float(age) for age in found["INFANTS"]["age"]]
    assert ages == pytest.approx([14 / 12, 23 / 12], abs=1e-4)


def test_levels_in_other_case_as_terms_and_as_missing(tmp_path):
    book = {
        "gender": {"Levels": {"M": "male", "F": {"Description": "female", "TermURL": "x"}}},
        "handedness": {"Levels": {"1": "right", "9": "n/a"}},
    }
    table = "participant_id\tgender\thandedness\nsub-01\tm\t1\nsub-02\tf\t9\n"
    scans = plan(lab(tmp_path / "A", table, book)).scans
    assert scans["sex"].tolist() == ["male", "female"]
    assert scans["handedness"].tolist() == ["R", ""]


@pytest.mark.parametrize(
    ("field", "unit", "cell", "value"),
    [
        ("age", "", "45", 45),
        ("age", "years", "45,5", 45.5),
        ("age", "months", "14", 14 / 12),
        ("age", "weeks", "52", 52 * 7 / 365.25),
        ("age", "", "P045Y", 45),
        ("age", "months", "P1Y6M", 1.5),
        ("age", "", "045Y", 45),
        ("age", "", "018M", 1.5),
        ("age", "", "P30D", 30 / 365.25),
        ("age", "", "89+", 89),
        ("height", "cm", "175", 1.75),
        ("height", "", "1,75", 1.75),
        ("height", "inches", "70", 1.778),
        ("weight", "lbs", "150", 68.0389),
        ("weight", "g", "3400", 3.4),
        ("BMI", "kg/m^2", "22.5", 22.5),
    ],
)
def test_numbers_in_their_units(field, unit, cell, value):
    found = number_of(field, cell, unit, "here")
    assert float(found.text) == pytest.approx(value, rel=1e-5)
    assert bool(found.note) == (cell == "89+")


@pytest.mark.parametrize(
    "cell", ["P", "PT5H", "45Y6", "4 5", "٤٥", "1e", "--4", "0x1f", "45 years"]
)
def test_what_is_no_number(cell):
    with pytest.raises(UserError, match="here: age is not a number"):
        number_of("age", cell, "", "here")


def test_implausible_and_capped_values_are_noted(tmp_path):
    table = "participant_id\tage\theight\nsub-01\t89+\t175\nsub-02\t-9\t1.7\n"
    source = lab(tmp_path / "A", table)
    assert fields(source, "age") == ["89", ""]
    assert fields(source, "height") == ["", "1.7"]
    told = notes(source)
    assert "age is given as a lower bound: the bound is taken" in told
    assert "height is outside 0.3 to 2.5: taken as not recorded" in told
    assert "age is outside 0 to 120: taken as not recorded" in told


@shared
def test_following_the_advice_of_the_error_works(tmp_path, monkeypatch):
    case("documented_remedy", tmp_path)
    source = BidsSource(kind="bids", path=str(tmp_path / "LAB"))
    assert "add its spelling to config/metadata.yaml" in refused(source)
    schema = load_schema(tmp_path / "metadata.yaml")
    for module in ("metadata", "recorded", "sources.bids"):
        monkeypatch.setattr(f"wfdm.data.{module}.load_schema", lambda *_: schema)
    scans = plan(source).scans
    assert scans["sex"].tolist() == ["female", "male", "female"]
    assert scans["age"].tolist() == ["41", "", ""]
    sex = next(field for field in schema.fields if field.name == "sex")
    assert canonical(sex, "FEMME", "here") == "female"


def test_a_spelling_of_nothing_is_refused(tmp_path):
    text = metadata.SCHEMA.read_text().replace("{f: female,", "{f: femal,")
    (tmp_path / "metadata.yaml").write_text(text)
    with pytest.raises(UserError, match="sex: the spelling 'f' stands for 'femal', which is none"):
        load_schema(tmp_path / "metadata.yaml")


# --- what a source says ------------------------------------------------------------------------

DEPRESSION = {"depression": {"column": "group", "values": {"depr": True, "control": False}}}


def said(source: BidsSource, **settings: object) -> BidsSource:
    return parse(BidsSource, source.model_dump() | settings, "here")


def test_fields_of_other_names_and_codes(tmp_path):
    table = "participant_id\tgroup\tmonths\nsub-01\tDEPR\t30\nsub-02\tcontrol\tn/a\n"
    given = DEPRESSION | {"age": {"column": "Months", "unit": "months"}}
    scans = plan(said(lab(tmp_path / "A", table), fields=given)).scans
    assert scans["depression"].tolist() == ["yes", "no"]
    assert scans["age"].tolist() == ["2.5", ""]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sadness": {"column": "group"}}, "there is no field 'sadness'"),
        ({"depression": {"column": "grp"}}, "has no column 'grp'; there is group, participant_id"),
        (
            {"sex": {"column": "group", "values": {"a": "b"}}},
            "fields.sex.values: 'b': sex is in no",
        ),
        (
            {"depression": {"column": "group", "values": {"depr": "yes"}}},
            "column 'group' holds what fields.depression.values of the source does not list",
        ),
        ({"age": {"column": "group", "unit": "lunes"}}, "age has the unit 'lunes'"),
    ],
)
def test_fields_that_cannot_be_are_one_line(tmp_path, given, message):
    table = "participant_id\tgroup\nsub-01\tdepr\nsub-02\tcontrol\n"
    assert message in refused(said(lab(tmp_path / "A", table), fields=given))


def test_a_list_from_elsewhere(tmp_path):
    source = lab(tmp_path / "A", "participant_id\tage\nsub-01\t20\n")
    (tmp_path / "A/participants.tsv").rename(tmp_path / "people.tsv")
    named = said(source, participants=str(tmp_path / "people.tsv"))
    assert fields(named, "age") == ["20", ""]
    assert tmp_path / "people.tsv" in plan(named).read
    lost = said(source, participants=str(tmp_path / "nobody.tsv"))
    assert "nobody.tsv: cannot be read (No such file" in refused(lost)


# --- ids and sessions ------------------------------------------------------------------------


def test_ids_and_folders_that_do_not_match_are_told_both_ways(tmp_path, caplog):
    source = lab(tmp_path / "A", "participant_id\tage\n1\t20\n7\t30\n", None, "001", "002")
    told = notes(source)
    assert (
        "participants.tsv lists '1', which no folder is named by; is it '001'? then write it so"
        in told
    )
    assert "participants.tsv lists '7', which no folder is named by" in told
    assert "participants.tsv has no row for '001': nothing is recorded of it there" in told
    assert fields(source, "age") == ["", ""]


def test_labels_that_differ_in_case_alone_are_refused(tmp_path):
    source = lab(tmp_path / "A", "participant_id\tage\na1\t20\nA1\t60\n", None, "a1", "A1")
    assert "sub-A1 and sub-a1 differ in case alone: rename one" in refused(source)


def test_no_list_is_told(tmp_path):
    source = lab(tmp_path / "A", "participant_id\tage\n")
    (tmp_path / "A/participants.tsv").unlink()
    assert notes(source) == ["there is no participants.tsv: nothing is recorded of its people"]


def test_sessions_have_their_own_ages_and_diagnoses(tmp_path):
    root = tmp_path / "A"
    source = lab(root, "participant_id\tage\tsex\nsub-01\t20\tF\nsub-02\t50\tM\n")
    for session in ("a", "b"):
        anat = root / f"sub-01/ses-{session}/anat"
        anat.mkdir(parents=True)
        (anat / f"sub-01_ses-{session}_T1w.nii.gz").write_bytes(b"x")
    table = "session_id\tage\ttumor\nses-b\t26\t1\nses-c\t29\tn/a\n"
    (root / "sub-01/sub-01_sessions.tsv").write_text(table)
    (root / "sessions.json").write_text('{"tumor": {"Levels": {"0": "no", "1": "yes"}}}')
    listing = plan(source)
    found = listing.scans[["session", "age", "sex", "tumor"]].to_numpy().tolist()
    assert found == [
        ["", "20", "female", ""],
        ["a", "20", "female", ""],
        ["b", "26", "female", "yes"],
        ["", "50", "male", ""],
    ]
    told = [each.reason for each in listing.findings if each.outcome == "note"]
    assert "sub-01_sessions.tsv lists 'c', which no folder is named by" in told
    assert "sub-01_sessions.tsv has no row for 'a': nothing is recorded of it there" in told
    (root / "sub-01/sub-01_sessions.tsv").write_text(table + "ses-b\t27\tn/a\n")
    assert "line 4: A/01: session 'b' is there twice" in refused(source)
