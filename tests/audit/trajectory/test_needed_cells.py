"""`--final-only` keeps the cells that the submission needs, and says why."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from kernel_env.audit.trajectory.needed_cells import plan_final
from kernel_env.episode.actions import ExecuteCode, RequestInfo, Reset, ValidateCode
from kernel_env.episode.step import (
    CellExecuted,
    CodeValidated,
    Graded,
    InfoShown,
    KernelReset,
    Step,
)
from kernel_env.episode.trajectory import Trajectory
from kernel_env.errors import UsageError
from kernel_env.grading.grade import Grade
from kernel_env.kernel.cell import Cell, FileChange, Recovery, Variable
from support.trajectories import HEADER

GRADED = Graded(
    grade=Grade(public_score=1.0, public=None, private_score=None, private=None), sha256="0" * 64
)


def step(code: str, cell: Cell | None = None, *, submits: bool = False) -> Step:
    """Return a step that executes a cell; its number comes later."""
    outcome = CellExecuted(cell=cell or Cell(), submission=GRADED if submits else None)
    return Step(number=1, action=ExecuteCode(code=code), outcome=outcome)


def planned(*steps: Step | str) -> dict[int, str]:
    """Return the steps that are played, and why; the last one made the submission."""
    made = [step(each) if isinstance(each, str) else each for each in steps]
    made[-1] = step(made[-1].action.code, made[-1].cell, submits=True)  # type: ignore[union-attr]
    return {each.step: each.reason for each in plan_final(episode(made)) if each.played}


def episode(steps: Sequence[Step]) -> Trajectory:
    numbered = [
        Step(number=n, action=each.action, outcome=each.outcome) for n, each in enumerate(steps, 1)
    ]
    return Trajectory(header=replace(HEADER, counts="last"), steps=numbered)


@pytest.mark.parametrize(
    ("cells", "played"),
    [
        (["x = 1", "y = 2", "print(y)", "submit(x)"], [1, 4]),
        (["x = 1", "x = 2", "submit(x)"], [2, 3]),
        (["x = 1", "x = x + 1", "submit(x)"], [1, 2, 3]),
        (["x = []", "x.append(1)", "submit(x)"], [1, 2, 3]),
        (["x = {}", "x['a'] = 1", "submit(x)"], [1, 2, 3]),
        (["x = {}", "x['a'] = 1", "x = {}", "submit(x)"], [3, 4]),
        (["x = 1", "if c:\n    x = 2", "submit(x)"], [1, 2, 3]),
        (["x = 1", "for x in y:\n    pass", "submit(x)"], [1, 2, 3]),
        (["x = A()", "z = x", "z.b = 1", "submit(x)"], [1, 2, 3, 4]),
        (["x = A()", "for z in x:\n    z.b = 1", "submit(x)"], [1, 2, 3]),
        (["m = Model()", "m.fit(X, y)", "n = N().fit(X, y)", "submit(m)"], [1, 2, 4]),
        (["m = Model()", "n = m.fit(X)", "submit(m)"], [1, 2, 3]),
        (["x = f()", "g(x)", "print(x)", "submit(x)"], [1, 2, 4]),
        (["x = f()", "len(x)\nx.mean()", "y = x.sum()", "submit(x)"], [1, 2, 4]),
        (["x = f()", "df.drop(inplace=True, columns=x)", "submit(x)"], [1, 2, 3]),
        (["import a", "import b", "submit(b.x)"], [2, 3]),
        (["import numpy as np", "x = np.ones(3)", "submit(x)"], [1, 2, 3]),
        (["del x", "x = 1", "submit(x)"], [2, 3]),
        (["k = 1", "def f():\n    return k", "k = 2", "submit(f())"], [2, 3, 4]),
        (["s = {}", "def f(n):\n    s[n] = 1", "f('a')", "submit(s)"], [1, 2, 3, 4]),
        (["s = {}", "def f(n):\n    s[n] = 1", "f('a')", "submit(1)"], [4]),
        (["def f(d):\n    d.x = 1", "d = D()", "e = f(d)", "submit(d)"], [1, 2, 3, 4]),
        (["def f(d):\n    return d", "d = D()", "f(d)", "submit(d)"], [2, 4]),
        (["s = []\ndef f():\n    s.append(1)", "T = [f]", "T[0]()", "submit(s)"], [1, 2, 3, 4]),
        (
            [
                "class C:\n    def go(self):\n        self.n = 1",
                "c = C()",
                "z = c.go()",
                "submit(c)",
            ],
            [1, 2, 3, 4],
        ),
        (["name = 1", "x = [name for name in y]", "submit(x)"], [2, 3]),
        (["i = 1", "x = 0\nfor i in range(3):\n    x += i", "submit(x)"], [2, 3]),
        (["f = lambda a: a + k", "k = 1", "submit(f(2))"], [1, 2, 3]),
        (["x = 1", "exec('x = 2')", "submit(x)"], [1, 2, 3]),
        (["a = 1", "b = 2", "from z import *", "submit(3)"], [1, 2, 3, 4]),
        (["%matplotlib inline", "x = 1", "submit(2)"], [1, 3]),
        (["%time x = 1", "y = 2", "submit(x)"], [1, 3]),
        (["%%time\nx = 1", "y = 2", "submit(x)"], [1, 3]),
        (["!touch f", "y = 2", "submit(1)"], [1, 3]),
        (["from sklearn.experimental import a", "y = 2", "submit(1)"], [1, 3]),
        (["import plt\nplt.hist(x)", "submit(x)"], [1, 2]),
        (["from matplotlib import pyplot as plt", "plt.hist(x)", "submit(x)"], [3]),
        (["import numpy as np", "np.random.seed(0)", "submit(np.random.rand())"], [1, 2, 3]),
        (["import random", "y = random.random()", "submit(random.random())"], [1, 2, 3]),
        (["import pandas as pd", "pd.set_option('a', 1)", "submit(pd)"], [1, 2, 3]),
        (["x = (", "submit(1)"], [1, 2]),
        (["x: int = 1", "submit(x)"], [1, 2]),
        (["(x := 1)", "submit(x)"], [1, 2]),
        (["a, *b = 1, 2", "submit(b)"], [1, 2]),
        (["with open('f') as x:\n    pass", "submit(x)"], [1, 2]),
        (["try:\n    x = 1\nexcept E as e:\n    pass", "submit(x)"], [1, 2]),
        (["async def f():\n    return k", "k = 1", "await f()", "submit(1)"], [4]),
    ],
)
def test_names_tell_what_is_needed(cells: list[str], played: list[int]) -> None:
    assert list(planned(*cells)) == played


def test_recorded_variables_are_names_that_a_cell_binds() -> None:
    hidden = step("load()", Cell(variables=(Variable(name="x", type="int"),)))

    assert planned(hidden, "y = 1", "submit(x)") == {
        1: "it may change x, which step 3 uses",
        3: "its submission counts",
    }


def test_a_cell_that_failed_does_not_replace_a_name() -> None:
    error = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}

    assert list(planned("x = 1", step("x = 1 / 0", Cell(outputs=(error,))), "submit(x)")) == [
        1,
        2,
        3,
    ]


def test_a_cell_that_did_not_parse_did_nothing() -> None:
    error = {"output_type": "error", "ename": "SyntaxError", "evalue": "", "traceback": []}

    assert list(planned("x = 1", step("x = (", Cell(outputs=(error,))), "submit(x)")) == [1, 3]


@pytest.mark.parametrize(
    ("later", "needed"),
    [
        ("np.load('fold.npy')", True),
        ("np.load(HERE / 'sub/fold.npy')", True),
        ("np.load(f'{name}.npy')", True),
        ("[open(each) for each in HERE.glob('*')]", True),
        ("!cat fold.npy", True),
        ("np.load('other.bin')", False),
        ("pass", False),
    ],
)
def test_files_tell_what_is_needed(later: str, needed: bool) -> None:
    writes = step("save()", Cell(files=(FileChange(path="fold.npy", bytes=1),)))

    assert (1 in planned(writes, later + "\nsubmit(1)")) == needed


def test_an_earlier_submission_is_needed_only_if_it_is_read() -> None:
    first = step("a.to_csv('submission.csv')", submits=True)

    assert list(planned(first, "b.to_csv('submission.csv')")) == [2]
    assert list(planned(first, "b = pd.read_csv('submission.csv')\nsubmit(b)")) == [1, 2]
    assert list(planned(first, "b = pd.read_csv('sample_submission.csv')\nsubmit(b)")) == [2]


def test_more_files_than_are_recorded_are_needed() -> None:
    files = tuple(FileChange(path=f"{n}.bin", bytes=1) for n in range(50))

    assert list(planned(step("save()", Cell(files=files)), "submit(1)")) == [1, 2]


def test_steps_that_cannot_matter_are_skipped() -> None:
    recovery = Recovery(cause="killed", how="standby")
    steps = [
        step("x = 1"),
        Step(number=1, action=Reset(), outcome=KernelReset()),
        Step(number=1, action=ValidateCode(code="x"), outcome=CodeValidated(cell=Cell())),
        Step(number=1, action=RequestInfo(info_type="name"), outcome=InfoShown(text="")),
        step("x = 2", Cell(broke="killed", recovery=recovery)),
        step("submit(x)", submits=True),
        step("x = 3"),
    ]

    plan = {each.step: each.reason for each in plan_final(episode(steps)) if not each.played}

    assert plan == {
        1: "step 2 reset the kernel and the workspace",
        2: "it runs no code",
        3: "it was a trial, of which nothing lasts",
        4: "it runs no code",
        5: "it crashed the kernel and was undone",
        7: "it came after step 6, whose submission counts",
    }


def test_an_episode_without_a_submission_has_nothing_to_play() -> None:
    with pytest.raises(UsageError, match="no submission of this episode counts"):
        plan_final(episode([step("x = 1")]))


@pytest.mark.parametrize(
    "code", ["(" * 5_000 + ")" * 5_000, "-" * 50_000 + "1", "x = '\ud800'", "\0"]
)
def test_code_that_cannot_be_parsed_is_no_crash(code: str) -> None:
    assert 2 in planned(code, "submit(1)")


def test_a_long_episode_is_no_problem() -> None:
    cells = ["x = 0", *("x = x + 1; y = 1" for _ in range(600)), "submit(x)"]

    assert len(planned(*cells)) == len(cells)
    assert 1 in planned("x = " + " + ".join("1" for _ in range(50_000)), "submit(1)")
