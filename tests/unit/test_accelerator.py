import os
import subprocess
import sys
import time

import pytest

from wfdm import accelerator

TAKE = """
import sys, time
from pathlib import Path
from wfdm import accelerator
accelerator.SECONDS = 0.02
cards = accelerator.take(["0", "GPU-1/2", "2"], int(sys.argv[2]), Path(sys.argv[1]))
began = time.monotonic()
print(",".join(cards), began, flush=True)
time.sleep(0.3)
print(time.monotonic(), flush=True)
"""


def jobs(folder, *numbers):
    """Let jobs take so many cards each, all at once; return the cards and times of each."""
    command = [sys.executable, "-c", TAKE, str(folder)]
    started = [
        subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in numbers
    ]
    told = [process.communicate()[0].split() for process in started]
    return [(cards.split(","), float(began), float(ended)) for cards, began, ended in told]


@pytest.mark.parametrize("numbers", [(1, 1, 1, 1, 1), (2, 2, 2), (3, 1, 2)])
def test_no_card_is_used_by_two_jobs_at_once(tmp_path, numbers):
    done = jobs(tmp_path, *numbers)
    assert [len(cards) for cards, _, _ in done] == list(numbers)
    for index, (cards, began, ended) in enumerate(done):
        for others, start, end in done[:index]:
            if set(cards) & set(others):
                assert ended <= start or end <= began


def test_a_card_of_a_killed_job_is_free_again(tmp_path):
    command = [sys.executable, "-c", TAKE.replace("0.3", "60"), str(tmp_path), "3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.kill()
    process.wait()
    began = time.monotonic()
    assert len(jobs(tmp_path, 3)[0][0]) == 3
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("gpus", "environment", "seen"),
    [
        (0, {}, ""),
        (0, {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_JOB_ID": "7"}, ""),
        (1, {"CUDA_VISIBLE_DEVICES": "GPU-8,GPU-9"}, "GPU-8"),
        (2, {"CUDA_VISIBLE_DEVICES": "GPU-8,GPU-9"}, "GPU-8,GPU-9"),
        (2, {"CUDA_VISIBLE_DEVICES": "1,3", "SLURM_JOB_ID": "7"}, "1,3"),
        (1, {"CUDA_VISIBLE_DEVICES": ""}, ""),
    ],
)
def test_a_job_sees_the_cards_that_it_asked_for(tmp_path, gpus, environment, seen):
    code = f"""if True:
        import os, tempfile
        from wfdm import accelerator
        tempfile.tempdir = {str(tmp_path)!r}
        accelerator.use({gpus})
        print(os.environ["CUDA_VISIBLE_DEVICES"])
    """
    bare = {name: value for name, value in os.environ.items() if name != accelerator.VISIBLE}
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare | environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, seen), done.stderr
