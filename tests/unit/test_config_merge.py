"""Snakemake merges configuration files; what its merge loses is put back."""

import copy

from hypothesis import given
from hypothesis import strategies as st
from snakemake.utils import update_config

from wfdm.config.files import completed, read_files
from wfdm.config.study import merged

VALUES = st.none() | st.integers() | st.lists(st.integers(), max_size=2)
MAPPINGS = st.recursive(
    VALUES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner), max_leaves=8
)
CONFIGS = st.dictionaries(st.sampled_from("abc"), MAPPINGS)


def snakemakes(config, asked):
    """What Snakemake makes of two files, without a trace in either."""
    found = copy.deepcopy(config)
    update_config(found, copy.deepcopy(asked))
    return found


def test_an_empty_section_over_null_asks_for_its_defaults():
    config, asked = {"few_steps": None, "seed": 1}, {"few_steps": {}}
    assert snakemakes(config, asked)["few_steps"] is None
    assert completed(snakemakes(config, asked), asked) == {"few_steps": {}, "seed": 1}


@given(CONFIGS, CONFIGS)
def test_mappings_merge_and_everything_else_replaces(config, asked):
    assert completed(snakemakes(config, asked), asked) == merged(config, asked)


def test_later_files_go_over_earlier_ones(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("seed: 1\nsplit: {train: 0.5, rule: person}\n")
    second.write_text("seed: 2\nsplit: {train: 0.6}\n")
    wanted = {"seed": 2, "split": {"train": 0.6, "rule": "person"}}
    assert read_files(first, second) == wanted
