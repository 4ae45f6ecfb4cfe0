"""Named seeds and whole-or-nothing files."""

import errno
import hashlib
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from wfdm.atomic import alone, atomic_path, write_text
from wfdm.errors import FAULTS, UserError, fault_of_machine, one_line
from wfdm.seeds import WORDS, seed_for, seeded_weights, torch_generator

NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\x1f"), max_size=8), max_size=4
)


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


def drawn(generator: torch.Generator, count: int = 1000) -> torch.Tensor:
    return torch.randn(count, generator=generator)


def test_the_twisters_words_lie_where_we_put_them():
    """By torch's own seeding: its 32-bit seeds give the words of the classic initialisation."""
    state = torch.Generator().manual_seed(1234).get_state().numpy()
    words = state[WORDS].view(np.uint64)
    assert np.array_equal(words, np.random.RandomState(1234).get_state()[1])


def test_a_torch_generator_is_numpys_twister():
    """Same state, same stream: draws below 2**31 are NumPy's raw words, from its next block on."""
    for seed in (0, 5, 5 + 2**40, 2**63 - 1):
        ours = torch.empty(2000, dtype=torch.int32).random_(generator=torch_generator(seed))
        twister = np.random.MT19937(np.random.SeedSequence(seed))
        twister.random_raw(624 - twister.state["state"]["pos"])
        assert np.array_equal(ours.numpy(), twister.random_raw(2000) % 2**31)


def test_all_bits_of_a_seed_count():
    plain = [torch.Generator().manual_seed(seed) for seed in (5, 5 + 2**40)]
    assert torch.equal(*map(drawn, plain))  # why torch's own seeding is not enough
    seeds = [5, *(5 ^ (1 << bit) for bit in range(63))]
    first = {tuple(drawn(torch_generator(seed), 4).tolist()) for seed in seeds}
    assert len(first) == len(seeds)


@given(st.integers(0, 2**63 - 1))
def test_equal_seeds_give_equal_draws_and_tell_their_seed(seed):
    one, two = torch_generator(seed), torch_generator(seed)
    assert torch.equal(drawn(one), drawn(two)) and torch.equal(drawn(one), drawn(two))
    assert one.initial_seed() == seed


def test_draws_have_the_moments_of_their_distribution():
    """Of 1,000 generators, 1,000 draws each: within five standard errors."""
    noise = torch.stack([drawn(torch_generator(seed_for(1, "x", i))) for i in range(1000)]).double()
    for moment, expected, error in ((1, 0, 1), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)):
        assert abs(noise.pow(moment).mean() - expected) < 5 * error / 1000
    across = noise.T @ noise / 1000  # draws of one generator, and of neighbours, are uncorrelated
    along = noise @ noise.T / 1000
    for matrix in (across, along):
        matrix.fill_diagonal_(0)
        assert matrix.abs().max() < 6.5 / 1000**0.5


def test_initial_weights_are_seeded_and_nothing_else_is_touched():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    made = []
    for seed in (5, 5, 5 + 2**40):
        with seeded_weights(seed):
            made.append(torch.nn.Linear(8, 8).weight)
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    assert torch.equal(torch.rand(4), expected)


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


@pytest.mark.parametrize("number", FAULTS)
def test_faults_of_the_machine_are_one_line_with_the_file(tmp_path, number):
    target = tmp_path / "table.tsv"
    with pytest.raises(OSError) as raised, atomic_path(target):
        raise OSError(number, os.strerror(number))  # as a write does: it names no file
    passed_on = pickle.loads(pickle.dumps(raised.value))  # as from a pool's process
    for error in (raised.value, passed_on):
        assert fault_of_machine(error) == f"{os.strerror(number)}: {target}; {FAULTS[number]}"


def test_other_errors_are_faults_of_the_program():
    assert fault_of_machine(OSError(errno.ENOENT, "no such file")) is None
    assert fault_of_machine(ValueError("28")) is None


def test_safetensors_tells_the_fault_in_words():
    error = SafetensorError("I/O error: No space left on device (os error 28)")
    assert fault_of_machine(error) == "No space left on device; free space and run again"


@given(st.text())
def test_a_line_is_a_line_whatever_is_named_in_it(text):
    told = one_line(text)
    assert told.isprintable() and len(told.splitlines()) <= 1
    assert not text.isprintable() or told == text


HOLD = """
import pathlib, sys, time
from wfdm.atomic import alone
with alone(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_what_another_process_makes_is_left_to_it_while_it_lives(tmp_path, end):
    target = tmp_path / "folder" / "out.tsv"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(target)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=r"out\.tsv: another process is making it"),
            alone(target),
        ):
            pass
        with alone(target.with_name("other.tsv")):
            pass
    finally:
        holder.send_signal(end)
        holder.communicate()
    with alone(target):
        pass
    assert not list(target.parent.iterdir())


def test_of_one_training_only_the_first_process_holds_the_lock(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with alone(tmp_path / "model.safetensors"):
        assert not list(tmp_path.iterdir())
