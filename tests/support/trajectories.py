"""Build trajectories of episodes that never ran: random ones, and simple steps."""

from dataclasses import replace

from hypothesis import strategies as st

from kernel_env.episode.actions import ExecuteCode, GetHistory, RequestInfo, Reset, ValidateCode
from kernel_env.episode.budget import Budget, Spent
from kernel_env.episode.step import (
    CellExecuted,
    CodeValidated,
    Graded,
    InfoShown,
    KernelReset,
    Rejected,
    Remark,
    Step,
)
from kernel_env.episode.trajectory import Ending, Fork, Header, Note, Trajectory
from kernel_env.grading.grade import Grade, Place
from kernel_env.kernel.cell import Cell, FileChange, Recovery, Variable
from kernel_env.kernel.connection.outputs import OutputCollector

HEADER = Header(
    episode="e",
    task="tiny",
    task_name="Tiny",
    task_version="tiny-1",
    description="# Tiny\n\nPredict.",
    metric="RMSE",
    higher_is_better=False,
    leaderboard_kind="reference",
    budget=Budget(),
    reward="position",
    feedback="public",
    sandbox="local",
    isolated=False,
    image="base",
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=32)


def collect(messages: list[tuple[str, dict[str, object]]]) -> tuple[dict[str, object], ...]:
    """Return the outputs that these messages of a kernel produce."""
    collector = OutputCollector()
    for kind, content in messages:
        collector.add(kind, content)
    return collector.outputs()


BUNDLE = st.dictionaries(
    st.sampled_from(["text/plain", "text/html", "image/png", "application/json", "text/x-ünï"]),
    TEXT | st.lists(TEXT, max_size=2),
    max_size=3,
)
MESSAGES = st.lists(
    st.one_of(
        st.tuples(
            st.just("stream"),
            st.fixed_dictionaries({"name": st.sampled_from(["stdout", "stderr"]), "text": TEXT}),
        ),
        st.tuples(
            st.just("display_data"),
            st.fixed_dictionaries({"data": BUNDLE, "metadata": st.just({})}),
        ),
        st.tuples(
            st.just("execute_result"),
            st.fixed_dictionaries(
                {"data": BUNDLE, "metadata": st.just({}), "execution_count": st.integers(1, 99)}
            ),
        ),
        st.tuples(
            st.just("error"),
            st.fixed_dictionaries(
                {"ename": TEXT, "evalue": TEXT, "traceback": st.lists(TEXT, max_size=3)}
            ),
        ),
    ),
    max_size=5,
)
OUTPUTS = MESSAGES.map(collect)
PLACES = st.builds(
    Place,
    position=st.floats(0, 1),
    rank=st.integers(1, 9),
    entries=st.integers(1, 9),
    normalised=st.none() | NUMBER,
)
GRADES = st.builds(
    Grade,
    public_score=NUMBER,
    public=st.none() | PLACES,
    private_score=st.none() | NUMBER,
    private=st.none() | PLACES,
)
CELLS = st.builds(
    Cell,
    outputs=OUTPUTS,
    execution_count=st.none() | st.integers(1, 1000),
    seconds=st.floats(0, 1e6),
    timed_out=st.booleans(),
    broke=st.none() | TEXT,
    state_lost=st.none() | TEXT,
    recovery=st.none()
    | st.builds(
        Recovery,
        cause=TEXT,
        how=st.sampled_from(["standby", "replay", "again"]),
        before=st.booleans(),
        cells=st.integers(0, 99),
        seconds=st.floats(0, 1e6),
        note=TEXT,
        lost=TEXT,
    ),
    dropped_bytes=st.integers(0, 10**12),
    late=OUTPUTS,
    variables=st.lists(
        st.builds(Variable, name=TEXT, type=TEXT, shape=TEXT, megabytes=NUMBER), max_size=2
    ).map(tuple),
    files=st.lists(st.builds(FileChange, path=TEXT, bytes=st.integers(0, 10**15)), max_size=2).map(
        tuple
    ),
)
SUBMISSIONS = (
    st.none()
    | st.builds(Rejected, reason=TEXT)
    | st.builds(Graded, grade=GRADES, sha256=st.just("0" * 64))
)
ACTIONS_AND_OUTCOMES = st.one_of(
    st.tuples(
        st.builds(ExecuteCode, code=TEXT),
        st.builds(CellExecuted, cell=CELLS, submission=SUBMISSIONS),
    ),
    st.tuples(st.builds(ValidateCode, code=TEXT), st.builds(CodeValidated, cell=CELLS, note=TEXT)),
    st.tuples(
        st.builds(RequestInfo, info_type=st.sampled_from(["all", "name"])),
        st.builds(InfoShown, text=TEXT),
    ),
    st.tuples(st.builds(GetHistory, last=st.integers(1, 100)), st.builds(InfoShown, text=TEXT)),
    st.tuples(st.just(Reset()), st.just(KernelReset())),
)
SPENT = st.builds(
    Spent,
    steps=st.integers(0, 99),
    seconds=NUMBER,
    output_bytes=st.integers(0, 10**9),
    tokens=st.integers(0, 10**9),
    money=NUMBER,
)
REMARKS = st.none() | st.builds(
    Remark, source=TEXT, text=TEXT, missing=TEXT, tokens=st.integers(0, 10**9), money=NUMBER
)


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    """Draw a trajectory of up to four steps."""
    steps = []
    for number, (action, outcome) in enumerate(draw(st.lists(ACTIONS_AND_OUTCOMES, max_size=4)), 1):
        steps.append(
            Step(
                number=number,
                action=action,
                outcome=outcome,
                thought=draw(TEXT),
                reward=draw(NUMBER),
                reward_reason=draw(TEXT),
                started="2026-01-01T00:00:00.000+00:00",
                spent=draw(SPENT),
                actor=draw(st.sampled_from(["agent", "human"])),
                remark=draw(REMARKS),
            )
        )
    ending = draw(
        st.none()
        | st.builds(
            Ending,
            status=st.just("finished"),
            reason=TEXT,
            spent=SPENT,
            chosen_step=st.none() | st.integers(1, 9),
            grade=st.none() | GRADES,
            missing=TEXT,
        )
    )
    fork = draw(
        st.none()
        | st.builds(
            Fork,
            episode=TEXT,
            step=st.integers(0, 9),
            how=st.sampled_from(["copy", "replay"]),
            cells=st.integers(0, 9),
            lost=TEXT,
            seed=st.none() | st.integers(0, 2**32 - 1),
        )
    )
    notes = draw(
        st.lists(
            st.builds(
                Note,
                kind=st.sampled_from(["instructions", "first_message", "refused", "last_words"]),
                text=TEXT,
                reason=TEXT,
                after_step=st.integers(0, len(steps)),
                spent=SPENT,
            ),
            max_size=3,
        )
    )
    return Trajectory(
        header=replace(HEADER, fork=fork),
        steps=tuple(steps),
        ending=ending,
        notes=tuple(sorted(notes, key=lambda note: note.after_step)),
    )


def cell_step(number: int, code: str = "pass") -> Step:
    """Build the step of a cell without outputs."""
    return Step(number=number, action=ExecuteCode(code=code), outcome=CellExecuted(cell=Cell()))
