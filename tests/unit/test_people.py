"""People: what the alias table joins, whatever its shape and order."""

from pathlib import Path

import networkx as nx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfdm.config.cohort import SplitSettings
from wfdm.data.people import Alias, read_aliases, resolve
from wfdm.data.split import divide
from wfdm.errors import UserError

ROOT = Path(__file__).parents[2]
HEADER = "datasets\tpattern\tids\tevidence\tsource\n"


def scans(*keys: str) -> pd.DataFrame:
    """One T1w of each DATASET/SUBJECT."""
    parts = [key.split("/") for key in keys]
    return pd.DataFrame(
        {
            "scan_id": [f"{dataset}/sub-{subject}_T1w" for dataset, subject in parts],
            "dataset": [dataset for dataset, _ in parts],
            "subject": [subject for _, subject in parts],
            "person": keys,
            "modality": "T1w",
        }
    )


def ids(*keys: str) -> Alias:
    return Alias(frozenset(), None, keys, "seen")


KEYS = [f"{dataset}/{number}" for dataset in "ABC" for number in range(8)]
PAIRS = st.lists(st.tuples(st.sampled_from([*KEYS, "Z/1", "Z/2"]), st.sampled_from(KEYS)))


@settings(max_examples=40)
@given(PAIRS, st.randoms(use_true_random=False), st.integers(0, 3))
def test_any_alias_graph(pairs, random, seed):
    """The persons are the connected parts (networkx), in any order, and none of them leaks."""
    table = scans(*KEYS)
    aliases = [ids(a, b) for a, b in pairs if a != b]
    found, shared, _ = resolve(table, aliases)
    graph = nx.Graph()
    graph.add_nodes_from(KEYS)
    graph.add_edges_from(pairs)
    for part in nx.connected_components(graph):
        here = sorted(part & set(KEYS))
        keys = found["dataset"] + "/" + found["subject"]
        assert set(found.loc[keys.isin(here), "person"]) <= {here[0]}
        assert (len(here) > 1) == (here[0] in set(shared["person"]))
    splits = divide(found, SplitSettings(), seed)
    assert splits.groupby("person")["split"].nunique().max() == 1

    order = random.sample(range(len(table)), len(table))
    random.shuffle(aliases)
    again, _, _ = resolve(table.iloc[order], aliases)
    pd.testing.assert_frame_equal(again.sort_index(), found)
    pd.testing.assert_frame_equal(divide(again, SplitSettings(), seed), splits)


def persons(*keys: str) -> dict[str, str]:
    found, _, _ = resolve(scans(*keys), read_aliases(ROOT / "config" / "people.tsv"))
    return dict(zip(keys, found["person"], strict=True))


@pytest.mark.parametrize(
    "same",
    [
        ("BRATS/training-BraTS-GLI-00020-000", "BRATS/training-BraTS-GLI-00020-001"),
        ("BRATS/validation-BraTS-GLI-00200-000", "BRATS/validation-BraTS-GLI-00200-001"),
        ("BDDR/a1", "BCMD/A1"),
        ("EDBP/20001", "MAICY/20001"),
        ("EDBP/20001", "NIMHC/20001"),
        ("ABIDE/0050003", "ABIDE2/50003"),
        ("ABIDE2/29006+baseline+rest", "ABIDE2/29006+followup"),
        ("CORR/0021001+baseline", "INDINKI/0021001"),
        ("A/x", "A/X"),
    ],
)
def test_the_known_aliases(same):
    assert len(set(persons(*same).values())) == 1


@pytest.mark.parametrize(
    "different",
    [
        ("BRATS/training-BraTS-GLI-00020-000", "BRATS/training-BraTS-GLI-00021-000"),
        ("ADHD200/0021001", "CORR/0021001"),  # judged a coincidence: 10 of 38 sexes agree
        ("IXI/24", "MCAC/24"),
        ("EDBP/20001", "MAICY/20002"),
    ],
)
def test_who_is_not_the_same(different):
    assert len(set(persons(*different).values())) == 2


def test_a_person_that_the_source_names():
    table = scans("INDINKI/M1", "INDINKI/M2", "CORR/0021001+baseline")
    table["person"] = ["INDINKI/0021001", "INDINKI/0021001", "CORR/0021001+baseline"]
    found, shared, _ = resolve(table, read_aliases(ROOT / "config" / "people.tsv"))
    assert set(found["person"]) == {"CORR/0021001+baseline"}
    assert len(shared) == 3 and shared["evidence"].ne("").all()


def test_an_alias_that_joins_nobody_is_noted():
    _, shared, notes = resolve(scans("A/1", "A/2"), [ids("A/1", "A/9")])
    assert shared.empty
    reasons = [note.reason for note in notes]
    assert reasons == ["alias 'A/1 A/9' joins no two subjects of this study"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("A\t(\\d+)\t\t\tx", "line 2: an alias needs its evidence"),
        ("A\t(\\d+)\tA/1 A/2\te\ts", "line 2: give datasets and a pattern, or two ids"),
        ("\t\tA/1\te\ts", "line 2: give datasets and a pattern, or two ids"),
        ("\t\tA/1 2\te\ts", "line 2: id '2' is not DATASET/SUBJECT"),
        ("A\t(\t\te\ts", "cannot be read"),
        ("A\t\\d+\t\te\ts", "needs one group"),
    ],
)
def test_mistakes_in_the_table_are_named(tmp_path, row, message):
    (tmp_path / "people.tsv").write_text(HEADER + row + "\n")
    with pytest.raises(UserError, match=message):
        read_aliases(tmp_path / "people.tsv")
