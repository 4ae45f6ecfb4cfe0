"""What rules ask for and what their commands use, read from their text."""

import re
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "workflow/rules").glob("*.smk"))
RULES = {
    re.match(r"\s*rule (\w+)", part)[1]: part
    for file in FILES
    for part in re.split(r"(?m)^(?= *rule \w+:)", file.read_text())
    if re.match(r"\s*rule \w+:", part)
}


@pytest.mark.parametrize("rule", RULES)
def test_a_job_uses_just_the_gpus_that_it_asks_for(rule):
    text = RULES[rule]
    assert bool(re.search(r"\bgpu=", text)) == ("WFDM_GPUS={resources.gpu} wfdm " in text)


def test_the_shell_of_every_other_job_is_given_none():
    (common,) = [file.read_text() for file in FILES if file.name == "common.smk"]
    assert re.search(r"export PATH=.*\s.*WFDM_GPUS=0", common)
    assert len(RULES) > 30
