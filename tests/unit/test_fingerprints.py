"""Fingerprints of code: what counts, what does not, and what every stage's closure is."""

import ast
import difflib
import inspect
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit import closures
from wfdm.cli.commands import stage_modules
from wfdm.errors import UserError
from wfdm.provenance import fingerprints, syntax

BASE = {
    "a": "from wfdm.b import f\n\ndef g():\n    return f()\n",
    "b": """
        import numpy as np
        from wfdm.errors import UserError
        from wfdm.log import log, progress

        STEP = 3

        def f(x=1):
            \"\"\"Say one.\"\"\"
            if x > STEP:
                raise UserError(f"{x} is too much")
            for each in progress(range(x), "counting", x):
                x += each
            log.info("done")
            return np.abs(x)
    """,
    "c": "x = 1\n",
    "errors": "class UserError(Exception): ...\n",
    "log": "log = None\n\ndef progress(items): ...\n",
}


class Package:
    """A small package `wfdm` in which `a` imports `b`, and `c` stands alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "wfdm"
        for name, text in BASE.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.folder.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(inspect.cleandoc("\n" + text) + "\n")

    def edit(self, name: str, old: str, new: str) -> None:
        text = inspect.cleandoc("\n" + BASE[name])
        assert text.count(old) == 1
        self.write(name, text.replace(old, new))


def forget() -> None:
    fingerprints._parsed.cache_clear()
    fingerprints._file_of.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "SOURCE", tmp_path)
    forget()
    yield Package(tmp_path)
    forget()


def fresh(*implementations: str) -> str:
    forget()
    return fingerprints.fingerprint("wfdm.a", *implementations)


def fresh_closure(*implementations: str) -> list[str]:
    forget()
    return fingerprints.closure("wfdm.a", *implementations)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("STEP = 3", "STEP = 3  # why"),
        ("STEP = 3", "STEP = (3)"),
        ("STEP = 3", "STEP = 3\n\n\n"),
        ("Say one.", "Say 1, once."),
        ('    """Say one."""\n', ""),
        ('log.info("done")', 'log.warning("done with %s", x)'),
        ('    log.info("done")\n', ""),
        ('    log.info("done")\n', "    if x > 2:\n        log.info('much')\n"),
        ("is too much", "is more than I can count"),
        ('"counting", x)', 'f"counting to {x}", total=None)'),
        ("def f(x=1):", "def f(x: int = 1) -> float:"),
        ("    log.info", "    y: int\n    log.info"),
        ("import numpy as np\n", "import numpy as np\nfrom collections.abc import Iterable\n"),
        (
            "from wfdm.log import log, progress",
            "from wfdm.log import log\nfrom wfdm.log import progress",
        ),
        (
            "STEP = 3",
            "if typing.TYPE_CHECKING:\n    from wfdm.c import x\nSTEP = 3",
        ),
    ],
)
def test_what_only_people_read_changes_nothing(package, old, new):
    before = fresh()
    package.edit("b", old, new)
    assert fresh() == before
    assert fresh_closure() == ["wfdm.a", "wfdm.b"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("STEP = 3", "STEP = 4"),
        ("x > STEP", "x >= STEP"),
        ("x=1", "x=2"),
        ("raise UserError(", "raise ValueError("),
        ("np.abs(x)", "np.exp(x)"),
        ("import numpy as np", "import cupy as np"),
        ("range(x)", "range(x + 1)"),
        ("x += each", "x -= each"),
        ('log.info("done")', 'log = print("done")'),
        ('log.info("done")', "x += 1"),
        ("return np.abs(x)", "return np.abs(x)\n    return x"),
    ],
)
def test_what_decides_numbers_counts(package, old, new):
    before = fresh()
    package.edit("b", old, new)
    assert fresh() != before


@pytest.mark.parametrize("name", ["c", "errors", "log"])
def test_strangers_and_what_is_left_out_change_nothing(package, name):
    before = fresh()
    package.write(name, "anything = 'else'")
    assert fresh() == before


IDENTIFIERS = st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(str.isidentifier)
LINES = st.one_of(
    IDENTIFIERS.map(lambda name: f"log.info({name!r})"),
    IDENTIFIERS.map(lambda name: f"# {name}"),
    IDENTIFIERS.map(lambda name: f"{name!r}"),
    st.just(""),
)
STATEMENTS = st.one_of(
    st.tuples(IDENTIFIERS, st.integers(0, 9)).map(lambda pair: f"_{pair[0]} = {pair[1]}"),
    st.tuples(IDENTIFIERS, IDENTIFIERS).map(lambda pair: f"_{pair[0]}(_{pair[1]})"),
)


AROUND = (
    "{}",
    "def f():\n{}",
    "class A:\n{}",
    "for x in y:\n{}\nelse:\n    x()",
    "try:\n{}\nexcept E:\n    x()\nfinally:\n    y()",
    "try:\n    x()\nexcept E:\n{}",
    "with x:\n{}",
    "match x:\n  case 1:\n{}",
    "if x():\n    y()\nelse:\n{}",
)


@settings(max_examples=40)
@given(st.sampled_from(AROUND), st.lists(STATEMENTS, min_size=1, max_size=4), st.data())
def test_lines_that_are_only_read_can_stand_anywhere(around, statements, data):
    """Comments, log lines, lone texts and empty lines between statements, in any kind of block."""
    indent = " " * 4 if around != "{}" else ""
    read = [line for each in statements for line in (data.draw(LINES), each, data.draw(LINES))]
    plain, commented = (
        around.format("\n".join(indent + line for line in lines)) for lines in (statements, read)
    )
    assert syntax.read(commented, "p", False) == syntax.read(plain, "p", False)


@settings(max_examples=40)
@given(st.lists(STATEMENTS, min_size=1, max_size=6, unique=True), st.data())
def test_no_other_statement_can_be_changed_unseen(statements, data):
    place = data.draw(st.integers(0, len(statements) - 1))
    changed = [*statements]
    changed[place] = data.draw(STATEMENTS.filter(lambda text: text != statements[place]))
    texts = [syntax.read("\n".join(lines), "p", False)[0] for lines in (statements, changed)]
    assert texts[0] != texts[1]


def test_what_is_left_is_still_the_same_program():
    """Of every module of the package: it can be parsed, and reading it again drops nothing."""
    for path in sorted(fingerprints.SOURCE.glob("wfdm/**/*.py")):
        text, _ = syntax.read(path.read_text(), "wfdm", True)
        assert syntax.read(text, "wfdm", True)[0] == text
        defined = {node.name for node in ast.walk(ast.parse(path.read_text())) if is_named(node)}
        assert defined == {node.name for node in ast.walk(ast.parse(text)) if is_named(node)}


def is_named(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from . import d", ["wfdm.p.d"]),
        ("from .d import value", ["wfdm.p.d"]),
        ("from .. import c", ["wfdm.c"]),
        ("from ..c import x as value", ["wfdm.c"]),
        ("from ..q import e", ["wfdm.q.e"]),
        ("from wfdm.q import e", ["wfdm.q.e"]),  # and not q/__init__.py, which imports c
        ("from wfdm.q import hidden", ["wfdm.c", "wfdm.q"]),
        ("import wfdm.q.e", ["wfdm.q.e"]),
        ("from wfdm.configuration import k", ["wfdm.configuration"]),  # not wfdm.config
        ("from wfdm.config import k", []),
        ("from wfdm.config.deep import k", []),
        ("from wfdm import __version__ as v", []),
        ("def late():\n    from wfdm.q import e\n    return e", ["wfdm.q.e"]),
        ("class A:\n    def late(self):\n        from ..c import x\n        return x", ["wfdm.c"]),
    ],
)
def test_imports_lead_to_the_modules_that_are_used(package, line, found):
    package.write("p.__init__", "")
    package.write("p.d", "value = 1")
    package.write("q.__init__", "from wfdm.c import x\nhidden = x")
    package.write("q.e", "value = 2")
    for name in ("configuration", "config.__init__", "config.deep"):
        package.write(name, "k = 1")
    names = [
        alias.asname or alias.name
        for node in ast.walk(ast.parse(line))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    package.write("p.m", "\n".join([line, *names]))
    package.write("a", "from wfdm.p import m\nm.run()")
    assert fresh_closure() == sorted(["wfdm.a", "wfdm.p.m", *found])


def test_the_same_name_from_another_module_counts(package):
    package.write("c", "def f(): ...")
    package.write("a", "from wfdm.b import f\nfrom wfdm.c import f as other\nf(other)")
    before = fresh()
    package.write("a", "from wfdm.c import f\nfrom wfdm.b import f as other\nf(other)")
    assert fresh() != before


def test_an_architecture_counts_only_where_it_is_used(package, tmp_path, monkeypatch):
    package.write("d", "class D: ...")
    lab = tmp_path / "elsewhere"
    (lab / "lab").mkdir(parents=True)
    (lab / "lab" / "__init__.py").write_text("")
    (lab / "lab" / "mine.py").write_text("import numpy.linalg\nfrom .parts import size\n")
    (lab / "lab" / "parts.py").write_text("size = 1\n")
    monkeypatch.syspath_prepend(lab)
    plain, with_d, with_lab = fresh(), fresh("wfdm.d:D"), fresh("lab.mine:Mine")
    assert len({plain, with_d, with_lab}) == 3
    assert fresh("wfdm.d") == with_d  # a module alone
    package.write("d", "class D: x = 1")
    assert fresh() == plain and fresh("wfdm.d:D") != with_d
    (lab / "lab" / "parts.py").write_text("size = 2\n")
    assert fresh() == plain and fresh("lab.mine:Mine") != with_lab
    with pytest.raises(UserError, match=r"module 'lab\.none' cannot be found"):
        fresh("lab.none:X")
    with pytest.raises(UserError, match=r"module 'wfdm\.none' cannot be found"):
        fingerprints.fingerprint("wfdm.none")


def test_the_closures_are_those_that_were_committed():
    """A stage that depends on more, or less, must be an intended change."""
    before, now = closures.COMMITTED.read_text().splitlines(), closures.text().splitlines()
    difference = "\n".join(difflib.unified_diff(before, now, "committed", "now", lineterm=""))
    assert not difference, f"{difference}\n\nintended? python -m tests.unit.closures"


def test_stages_that_import_by_name_are_listed_with_what_they_import():
    for name, module in stage_modules().items():
        calls = [
            node
            for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "recorded"
        ]
        if calls:  # else it makes nothing that the study keeps
            assert [ast.literal_eval(call.args[0]) for call in calls] == [name]
            assert (len(calls[0].args) > 4) == (name in closures.used()), name


def test_trainings_hold_nothing_that_they_do_not_use():
    found = closures.closures()
    for name, strangers in {
        "train-compressor": ("samplers", "processes", "generators", "evaluation", "brainmint",
                             "published", "monai_vae", "wavelet_vae", "quantised", "haar_transform",
                             "denoisers", "board", "log", "sources"),
        "train-denoiser": ("samplers", "generators", "evaluation", "wavelet", "board", "sources",
                           "training.compressor"),
        "encode": ("training", "processes", "brainmint", "denoisers", "generators"),
        "preprocess": ("training", "models", "evaluation"),
    }.items():  # fmt: skip
        for part in strangers:
            assert not [module for module in found[name] if part in module], (name, part)


def test_every_reason_to_leave_a_module_out_belongs_to_a_module():
    for name in fingerprints.LEFT_OUT:
        assert fingerprints._file_of(name), name


def test_all_stages_together_are_fingerprinted_quickly():
    forget()
    began = time.process_time()
    for module in stage_modules().values():
        fingerprints.fingerprint(module.__name__)
    assert time.process_time() - began < 2  # 0.5 s on a quiet machine
