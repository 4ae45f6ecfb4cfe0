"""Names of BIDS files: what parses, what it is a scan of, and why it is none."""

import string

import pytest
from bidsschematools.schema import load_schema
from hypothesis import given
from hypothesis import strategies as st

from wfdm.data.bids_names import (
    ENTITIES,
    IMAGES,
    LABEL,
    MalformedNameError,
    modality_of,
    natural,
    parse,
    why_not,
)

PLAIN = {
    "sub-1_T1w": "T1w",
    "sub-1_ses-a_acq-mprage_rec-norm_run-03_T1w": "T1w",
    "sub-1_part-mag_T2w": "T2w",
    "sub-1_ce-none_T1w": "T1w",
    "sub-1_ce-gadolinium_T1w": "T1Gd",
    "sub-1_ce-Gd_T1w": "T1Gd",
    "sub-1_ce-dotarem_T1w": "T1Gd",
    "sub-1_acq-precontrast_T1w": "T1w",
    "sub-1_acq-noncontrast_FLAIR": "FLAIR",
    "sub-1_acq-posterior_T2w": "T2w",
}
NONE = {
    "sub-1_part-phase_T1w": "part-phase is no magnitude image",
    "sub-1_part-imag_T2w": "part-imag is no magnitude image",
    "sub-1_part-real_T2w": "part-real is no magnitude image",
    "sub-1_desc-preproc_T1w": "desc-preproc is a derivative",
    "sub-1_space-MNI152NLin6Asym_T1w": "space-MNI152NLin6Asym is a derivative",
    "sub-1_res-1_T1w": "res-1 is a derivative",
    "sub-1_echo-2_T1w": "one echo of several",
    "sub-1_chunk-1_FLAIR": "a part of a brain",
    "sub-1_mt-on_T1w": "magnetisation transfer",
    "sub-1_ce-gadolinium_FLAIR": "a FLAIR with contrast agent is none",
    "sub-1_ce-gad_T2w": "a T2w with contrast agent is none",
    "sub-1_ce-feraheme_T1w": "contrast agent 'ce-feraheme' is not known",
    "sub-1_acq-postcontrast_T1w": r"acq-postcontrast may tell .*acq-postcontrast_T1w: T1Gd",
    "sub-1_acq-postGd_FLAIR": r"acq-postGd may tell .*acq-postGd_FLAIR: FLAIR",
    "sub-1_T2starw": "suffix T2starw is not used",
    "sub-1_T9w": "unknown modality 'T9w'",
    "sub-1_FLAIR_roi": "'FLAIR' in its name is no entity",
    "sub-CON_001_T1w": "'001' in its name is no entity",
    "sub-a.b_T1w": r"label 'a\.b' of sub- must be",
    "sub-a-b_T1w": "label 'a-b' of sub- must be",
    "sub-_T1w": "label '' of sub- must be",
    "sub-1_run-one_T1w": "run- needs a number",
    "sub-1_run-0_T1w": "runs are counted from 1",
    "sub-1_foo-1_T1w": "no entity 'foo-'",
    "sub-1_run-1_run-2_T1w": "'run-' is there twice",
    "ses-1_sub-1_T1w": "does not begin with sub-",
    "T1w": "does not begin with sub-",
}


def modality(stem: str, state: str = "raw", **suffixes: str) -> str:
    name = parse(f"{stem}.nii.gz")
    found = modality_of(name, suffixes)
    if told := why_not(name, state, suffixes):
        raise MalformedNameError(told)
    return found


@pytest.mark.parametrize("stem", PLAIN)
def test_scans(stem):
    assert modality(stem) == PLAIN[stem]


@pytest.mark.parametrize("stem", NONE)
def test_no_scans(stem):
    with pytest.raises(MalformedNameError, match=NONE[stem]):
        modality(stem)


def test_what_a_source_says_goes_first():
    said = {"inplaneT2": "T2w", "acq-post_T1w": "T1Gd", "desc-brain_T1w": "T1w", "T1rho": "T1w"}
    assert modality("sub-1_inplaneT2", **said) == "T2w"
    assert modality("sub-1_acq-post_run-2_T1w", **said) == "T1Gd"
    assert modality("sub-1_desc-brain_T1w", **said) == "T1w"
    assert modality("sub-1_T1w", **said) == "T1w"
    with pytest.raises(MalformedNameError, match="acq-postGd may tell"):
        modality("sub-1_acq-postGd_T1w", **said)


@pytest.mark.parametrize("state", ["brain", "identity", "preprocessed", "skull"])
def test_derivatives_of_a_source_that_says_so(state):
    assert modality("sub-1_desc-preproc_T1w", state) == "T1w"
    assert modality("sub-1_space-SRI24_desc-preproc_T1w", state) == "T1w"
    with pytest.raises(MalformedNameError, match="desc-smooth is a derivative"):
        modality("sub-1_desc-smooth_T1w", state)


def test_entities_and_labels_are_those_of_the_standard():
    schema = load_schema()
    assert {entity.name for entity in schema.objects.entities.values()} == ENTITIES
    assert schema.objects.formats.label.pattern == LABEL.pattern


LABELS = st.text(string.ascii_letters + string.digits + "+", min_size=1, max_size=8)
KEYS = sorted(ENTITIES - {"sub", "run", "echo", "chunk", "inv", "flip", "split"})


@given(LABELS, st.dictionaries(st.sampled_from(KEYS), LABELS), LABELS, st.sampled_from(IMAGES))
def test_a_well_formed_name_comes_apart_as_it_was_joined(subject, entities, suffix, extension):
    entities = {"sub": subject} | entities
    stem = "_".join([*(f"{key}-{label}" for key, label in entities.items()), suffix])
    found = parse(stem + extension)
    assert (found.entities, found.suffix, found.extension) == (entities, suffix, extension)


@given(st.text("subrun0129-_+.Twé \n", max_size=16))
def test_a_name_parses_wholly_or_not_at_all(text):
    try:
        found = parse(text)
    except MalformedNameError as error:
        assert str(error)
        return
    pairs = [f"{key}-{label}" for key, label in found.entities.items()]
    assert "_".join([*pairs, found.suffix]) + found.extension == text


def test_numbers_sort_by_size():
    names = ["run-11", "run-2", "run-1", "a", "Run-3"]
    assert sorted(names, key=natural) == ["Run-3", "a", "run-1", "run-2", "run-11"]
