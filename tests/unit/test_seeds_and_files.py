"""Named seeds and whole-or-nothing files."""

import hashlib
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfdm.atomic import atomic_path, write_text
from wfdm.seeds import seed_for

NAMES = st.lists(st.text(st.characters(exclude_characters="\x1f"), max_size=8), max_size=4)


def test_seed_is_the_documented_hash():
    digest = hashlib.sha256(b"42\x1fsample\x1fA/sub-1_T1w").digest()
    assert seed_for(42, "sample", "A/sub-1_T1w") == int.from_bytes(digest[:8], "big") >> 1


@given(NAMES, NAMES)
def test_different_names_give_different_seeds(first, second):
    assert (seed_for(1, *first) == seed_for(1, *second)) == (first == second)


def test_seed_does_not_depend_on_the_hash_seed():
    code = "from wfdm.seeds import seed_for; print(seed_for(3, 'split', 'IXI'))"
    values = {
        subprocess.check_output(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": n}
        )
        for n in ("0", "1", "random")
    }
    assert len(values) == 1


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "table.tsv"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["table.tsv"]


def test_temporary_name_keeps_the_suffixes(tmp_path):
    with atomic_path(tmp_path / "a.nii.gz") as temporary:
        assert temporary.name.endswith("a.nii.gz")
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")
