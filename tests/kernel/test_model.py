"""Random work on a tree of episodes, against a model that is a few dictionaries.

An agent's cells are made of `Edit`s, each a line of code and what that line does to the model.
A cell may end well, with an error, with its time, or with a fault that breaks the kernel; it may
be executed or only tried. Episodes fork, from now and from earlier, reset and end in any order.
After each action every episode that lives must hold exactly what its model says.

`KERNEL_ENV_ACTIONS=20000 pytest tests/test_model.py -s` makes a long run of it, as many in each sandbox; on CI
the actions are the same each time.
"""

import asyncio
import copy
import hashlib
import json
import os
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kernel_env.episode.actions import ExecuteCode, GetHistory, RequestInfo, Reset, ValidateCode
from kernel_env.episode.episode import Episode, open_episode
from kernel_env.episode.step import CellExecuted, CodeValidated, Graded, KernelReset, Rejected, Step
from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection import client

ACTIONS = {"local": 300, "docker": 100}
"""In a default run; a container starts slowly and its kernels share a processor."""
LONGEST = 150
"""Actions in one example, which mostly share a container."""
MOST_LIVING = 3
BUDGET = {
    "steps": 10**9,
    "seconds": 10**9,
    "output_bytes": 10**12,
    "checkpoints": 3,  # few, so that most forks at an earlier step run cells again
}
SHORT_S = 0.7
"""For cells that are to run out of time."""
SUBMISSION = "submission.csv"

# ── the model ─────────────────────────────────────────────────────────────────────────────


@dataclass
class State:
    """What a kernel and its folders should hold."""

    drawn: tuple[Any, ...]
    """The state of the module `random`."""
    variables: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    buffered: bytes | None = None
    """Written to the open file `h` and not flushed; None when it is not open."""
    mapped: bool = False
    """Whether the file `m` is mapped as the array `m`."""

    def outline(self) -> dict[str, Any]:
        """The same as `OUTLINE` prints it."""
        told = {name: repr(value) for name, value in self.variables.items()}
        if self.buffered is not None:
            told["h"] = f"at {len(self.files['h']) + len(self.buffered)}"
        if self.mapped:
            told["m"] = mark(self.files["m"])
        files = {path: mark(content) for path, content in self.files.items()}
        return {
            "variables": told,
            "files": files | dict.fromkeys(self.folders, "folder"),
            "drawn": zlib.crc32(repr(self.drawn).encode()),
        }


def mark(content: bytes) -> str:
    """A content in short."""
    return f"{len(content)} bytes {zlib.crc32(content)}"


OUTLINE = """
def _outline():
    import io, json, os, random, types, zlib
    mark = lambda content: f"{len(content)} bytes {zlib.crc32(content)}"
    variables, files = {}, {}
    for name, value in globals().items():
        if name == "h":
            variables[name] = f"at {value.tell()}"
        elif name == "m":
            variables[name] = mark(value.tobytes())
        elif name[0] == "v" and name[1:].isdigit():
            variables[name] = repr(value)
    for root, start in ((".", ""), (os.environ.get("TMPDIR", "/tmp"), "tmp/")):
        for where, folders, names in os.walk(root):
            for name in folders + names:
                path = os.path.join(where, name)
                content = None if os.path.isdir(path) else open(path, "rb").read()
                found = "folder" if content is None else mark(content)
                if not start or name[0] == "t":
                    files[start + os.path.relpath(path, root)] = found
    drawn = zlib.crc32(repr(random.getstate()).encode())
    print("OUTLINE", json.dumps({"variables": variables, "files": files, "drawn": drawn}))
_outline(); del _outline
"""


def outline_of(cell: Cell) -> dict[str, Any]:
    """What a cell with `OUTLINE` printed."""
    text = "".join(o.get("text", "") for o in cell.outputs if o.get("name") == "stdout")
    line = next((line for line in text.splitlines() if line.startswith("OUTLINE ")), None)
    assert line is not None, cell
    found: dict[str, Any] = json.loads(line.removeprefix("OUTLINE "))
    return found


@dataclass(frozen=True)
class Edit:
    """A line of a cell."""

    kind: str
    n: int
    v: int


EDITS = (
    *("set", "list", "grow", "alias", "delete", "draw", "write", "append", "overwrite", "large"),
    *("cut", "remove", "rename", "folder", "prune", "temporary", "open", "put", "buffer", "close"),
    *("map", "poke", "poke", "poke", "unmap", "submit", "submit", "spoil", "withdraw"),
)


def perform(state: State, edit: Edit, task: "Tiny") -> str:
    """Change the model as the line does that is returned."""
    kind, n, v = edit.kind, edit.n, edit.v
    name, path, variables, files = f"v{n}", f"f{n}", state.variables, state.files
    text = f"{kind} {v}\n".encode()
    match kind:
        case "set":
            variables[name] = v
            return f"{name} = {v}"
        case "list":
            variables[name] = [v]
            return f"{name} = [{v}]"
        case "grow" if isinstance(variables.get(name), list):
            variables[name].append(v)
            return f"{name}.append({v})"
        case "alias" if f"v{v % 4}" in variables:
            variables[name] = variables[f"v{v % 4}"]
            return f"{name} = v{v % 4}"
        case "delete" if name in variables:
            del variables[name]
            return f"del {name}"
        case "draw":
            source = random.Random()
            source.setstate(state.drawn)
            variables[name] = source.random()
            state.drawn = source.getstate()
            return f"{name} = random.random()"
        case "write":
            files[path] = text
            return f"with open({path!r}, 'wb') as _f: _ = _f.write({text!r})"
        case "append":
            files[path] = files.get(path, b"") + text
            return f"with open({path!r}, 'ab') as _f: _ = _f.write({text!r})"
        case "overwrite" if path in files:
            files[path] = text[:4] + files[path][4:]
            return f"with open({path!r}, 'r+b') as _f: _ = _f.write({text[:4]!r})"
        case "large":
            files[path] = bytes([v]) * 200_000
            return f"with open({path!r}, 'wb') as _f: _ = _f.write(bytes([{v}]) * 200_000)"
        case "cut" if path in files:
            files[path] = files[path][:v].ljust(v, b"\0")
            return f"os.truncate({path!r}, {v})"
        case "remove" if path in files:
            del files[path]
            return f"os.remove({path!r})"
        case "rename" if path in files:
            files[f"f{v % 4}"] = files.pop(path)
            return f"os.replace({path!r}, 'f{v % 4}')"
        case "folder":
            state.folders |= {f"d{n}", f"d{n}/e"}
            files[f"d{n}/e/x"] = text
            return (
                f"os.makedirs('d{n}/e', exist_ok=True)\n"
                f"with open('d{n}/e/x', 'wb') as _f: _ = _f.write({text!r})"
            )
        case "prune" if f"d{n}" in state.folders:
            state.folders -= {f"d{n}", f"d{n}/e"}
            del files[f"d{n}/e/x"]
            return f"shutil.rmtree('d{n}')"
        case "temporary":
            files[f"tmp/t{n}"] = text
            return (
                f"with open(os.path.join(os.environ.get('TMPDIR', '/tmp'), 't{n}'), 'wb') as _f:"
                f" _ = _f.write({text!r})"
            )
        case "open" if state.buffered is None:
            files["h"], state.buffered = b"", b""
            return "h = open('h', 'wb')"
        case "put" if state.buffered is not None:
            files["h"], state.buffered = files["h"] + state.buffered + text, b""
            return f"_ = h.write({text!r}), h.flush()"
        case "buffer" if state.buffered is not None:
            state.buffered += text
            return f"_ = h.write({text!r})"
        case "close" if state.buffered is not None:
            files["h"], state.buffered = files["h"] + state.buffered, None
            return "h.close(); del h"
        case "map" if not state.mapped:
            files["m"], state.mapped = bytes(10_000), True
            return (
                "import numpy as _np; m = _np.memmap('m', dtype='u1', mode='w+', shape=(10_000,))"
            )
        case "poke" if state.mapped:
            content = bytearray(files["m"])
            content[n * 2_500 : n * 2_500 + 5] = bytes([v]) * 5
            files["m"] = bytes(content)
            return f"m[{n * 2_500} : {n * 2_500 + 5}] = {v}"
        case "unmap" if state.mapped:
            state.mapped = False
            return "del m"
        case "submit":
            files[SUBMISSION] = task.submission(n)
            return f"with open({SUBMISSION!r}, 'wb') as _f: _ = _f.write({task.code(n)})"
        case "spoil":
            files[SUBMISSION] = b"nonsense\n"
            return f"with open({SUBMISSION!r}, 'wb') as _f: _ = _f.write(b'nonsense\\n')"
        case "withdraw" if SUBMISSION in files:
            del files[SUBMISSION]
            return f"os.remove({SUBMISSION!r})"
    return "pass"


class Tiny:
    """What the tiny task's submissions hold and how they are graded."""

    def __init__(self, episode: Episode) -> None:
        table = (episode.rules.prepared.public / "test.csv").read_text()
        self.rows = [line.split(",") for line in table.split()[1:]]
        self.scores: dict[bytes, float] = {}

    def submission(self, slope: int) -> bytes:
        """The file that `code` writes."""
        rows = "".join(f"{name},{slope * float(x)}\n" for name, x in self.rows)
        return f"id,y\n{rows}".encode()

    def code(self, slope: int) -> str:
        """An expression whose value is the content of a submission."""
        return (
            "('id,y\\n' + ''.join('%s,%s\\n' % (_l.split(',')[0], "
            f"{slope} * float(_l.split(',')[1])) for _l in"
            " open(os.environ['DATA_PATH'] + '/test.csv').read().split()[1:])).encode()"
        )


# ── actions ───────────────────────────────────────────────────────────────────────────────

FAULTS = {
    "exit": "os._exit(3)",
    "SIGKILL": "os.kill(os.getpid(), 9)",
    "segfault": "import ctypes; ctypes.string_at(0)",
    "closed": "os.closerange(3, 10_000)",
    "all": "os.kill(-1, 9); os._exit(6)",  # whoever does the former survives it
}
"""Cells that break the kernel by themselves."""
HANGS = {
    "hang": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    "stopped": "os.kill(os.getpid(), 19)",
}
"""Cells that break it because they do not end."""
PREFIX = "import os, random, shutil, time\n"

WEIGHTS = {
    "nothing": 1,
    "execute": 70,
    "error": 12,
    "time": 2,
    "validate": 20,
    "validate error": 3,
    "validate exit": 4,
    "exit": 8,
    "SIGKILL": 5,
    "segfault": 3,
    "closed": 3,
    "standby and exit": 5,
    "hang": 1,
    "stopped": 1,
    "kill kernel": 5,
    "kill standby": 6,
    "kill template": 1,
    "all": 1,
    "container": 1,
    "look": 4,
    "reset": 6,
    "fork": 14,
    "fork reseeded": 6,
    "fork earlier": 14,
    "end": 12,
}
"""How often each kind of action is drawn. `nothing` is first: it makes Hypothesis's simplest
example, which it always tries, a short one."""
DOCKER_ONLY = {"all", "container"}
"""In the local sandbox they would end us, or there is none."""


@dataclass(frozen=True)
class Do:
    """An action on one of the episodes that live."""

    kind: str
    who: int
    other: int
    edits: tuple[Edit, ...]


DOS = st.builds(
    Do,
    st.sampled_from([kind for kind, weight in WEIGHTS.items() for _ in range(weight)]),
    st.integers(0, MOST_LIVING - 1),
    st.integers(0, 39),
    st.lists(
        st.builds(Edit, st.sampled_from(EDITS), st.integers(0, 3), st.integers(0, 99)), max_size=4
    ).map(tuple),
)


@dataclass
class Branch:
    """An episode and its model."""

    episode: Episode
    state: State
    """What it should hold now. A state is never changed once it is in a history."""
    history: list[State]
    """After 0, 1, 2, … steps."""
    scores: list[float | None]
    """What each step was graded."""
    graded: bytes | None = None
    """The submission that was looked at last."""
    looked: list[bytes | None] = field(default_factory=lambda: [None])
    """The same after 0, 1, 2, … steps."""
    broken: bool = False
    """Whether its kernel was killed by others since its last cell."""

    @property
    def home(self) -> Any:
        """Who shares it shares a container."""
        return self.episode._live.server


class Tree(RuleBasedStateMachine):
    """A tree of episodes under random actions."""

    sandbox: ClassVar[str]
    task: ClassVar[str]
    out: ClassVar[Path]
    actions: ClassVar[int] = 0
    kinds: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.living: list[Branch] = []
        self.unchecked = False
        self.opened: Any = None
        self.tiny: Any = None

    # One rule for all actions: of several, Hypothesis would leave out some in each example, and
    # there are only few examples.
    @rule(do=DOS)
    def act(self, do: Do) -> None:
        if do.kind == "nothing" or (self.sandbox == "local" and do.kind in DOCKER_ONLY):
            return
        if not self.living:
            self.runner.run(self._begin())
        type(self).actions += 1
        self.kinds[do.kind] = self.kinds.get(do.kind, 0) + 1
        self.runner.run(self._act(do))
        self.unchecked = True

    @invariant()
    def every_kernel_and_every_file_is_what_the_model_says(self) -> None:
        if self.unchecked:
            self.unchecked = False
            self.runner.run(self._check())

    def teardown(self) -> None:
        async def end() -> None:
            for branch in self.living[1:] + self.living[:1]:
                await self._end(branch)

        try:
            self.runner.run(end())
        finally:
            self.runner.close()

    async def _begin(self) -> None:
        opened = open_episode(self.task, sandbox=self.sandbox, out=self.out, budget=BUDGET)
        episode = await opened.__aenter__()
        self.opened = opened  # an episode ends by `end`; the context must not be collected before
        seed = episode._live._seed
        state = State(drawn=random.Random(seed).getstate())
        self.pristine = state
        self.tiny = Tiny(episode)
        self.living.append(Branch(episode, state, [state], []))

    async def _check(self) -> None:
        async def check(branch: Branch) -> None:
            cell = await self._execute(branch, OUTLINE, branch.state)
            assert outline_of(cell) == branch.state.outline(), branch.episode.rules.header

        done = await asyncio.gather(*map(check, self.living), return_exceptions=True)
        for error in done:
            if error is not None:
                raise error

    # ── one action ────────────────────────────────────────────────────────────────────────

    async def _act(self, do: Do) -> None:
        branch = self.living[do.who % len(self.living)]
        note(f"{branch.episode.rules.header.episode}, step {len(branch.episode.steps) + 1}")
        match do.kind:
            case "execute":
                state, code = self._cell(branch, do)
                await self._execute(branch, code, state)
            case "error":
                state, code = self._cell(branch, do)
                cell = await self._execute(branch, code + "\nraise ValueError(1)", state)
                assert cell.error is not None
                assert cell.error.name == "ValueError"
            case "time":
                state, code = self._cell(branch, do)
                with limited(branch.episode, SHORT_S):
                    cell = await self._execute(branch, code + "\nwhile True: pass", state)
                assert cell.timed_out
            case kind if kind in FAULTS:
                await self._break(branch, do, FAULTS[kind])
            case kind if kind in HANGS:
                with limited(branch.episode, SHORT_S, interrupt_s=0.3):
                    await self._break(branch, do, HANGS[kind])
            case "standby and exit":
                kept = branch.episode._live._checkpoints
                await branch.episode._live._kept()
                pids = [c.standby.pid for c in kept[-1 - do.other % 3 :]]
                kills = [f"os.kill({pid}, 9)" for pid in pids if await self._alive(branch, pid)]
                await self._break(branch, do, "\n".join([*kills, "os._exit(4)"]))
            case "container":
                await self._kill_container(branch)
            case "kill kernel" | "kill standby" | "kill template":
                await self._kill(branch, do)
            case "validate" | "validate error" | "validate exit":
                await self._validate(branch, do)
            case "look":
                for action in (RequestInfo(info_type="name"), GetHistory(last=2)):
                    self._remember(branch, await branch.episode.act(action), branch.state)
            case "reset":
                step = await branch.episode.act(Reset())
                assert isinstance(step.outcome, KernelReset)
                branch.broken, branch.graded = False, None
                self._remember(branch, step, self.pristine)
            case "fork" | "fork reseeded" | "fork earlier":
                await self._fork(branch, do)
            case "end":
                if len(self.living) > 1:
                    self.living.remove(branch)
                    await self._end(branch)

    def _cell(self, branch: Branch, do: Do) -> tuple[State, str]:
        state = copy.deepcopy(branch.state)
        lines = [perform(state, edit, self.tiny) for edit in do.edits]
        return state, PREFIX + "\n".join(lines)

    async def _execute(self, branch: Branch, code: str, state: State) -> Cell:
        """Run a cell that leaves `state` behind."""
        step = await branch.episode.act(ExecuteCode(code=code))
        assert isinstance(step.outcome, CellExecuted)
        cell = step.outcome.cell
        assert cell.broke is None, cell
        self._recovered(branch, cell)
        self._remember(branch, step, state)
        return cell

    async def _break(self, branch: Branch, do: Do, fault: str) -> None:
        """Run a cell that does much and then breaks the kernel: nothing of it may last."""
        _, code = self._cell(branch, do)
        sharing = [b for b in self.living if b.home is branch.home and b is not branch]
        step = await branch.episode.act(ExecuteCode(code=f"{code}\n{fault}"))
        assert isinstance(step.outcome, CellExecuted)
        cell = step.outcome.cell
        assert cell.broke is not None, cell
        assert cell.recovery is not None
        assert cell.recovery.lost == "", cell.recovery
        branch.broken = False
        self._remember(branch, step, branch.state)
        if fault == FAULTS["all"]:
            for other in sharing:
                other.broken = True
            await asyncio.sleep(0.3)  # the deaths are on their way

    def _recovered(self, branch: Branch, cell: Cell) -> None:
        if branch.broken:
            assert cell.recovery is not None
            assert cell.recovery.before
            assert cell.recovery.lost == "", cell.recovery
        else:
            assert cell.recovery is None, cell.recovery
        branch.broken = False

    def _remember(self, branch: Branch, step: Step, state: State) -> None:
        """Note the step and compare its grade with what the model says the file holds."""
        assert step.state_lost is None
        branch.state = state
        score = None
        if isinstance(step.outcome, CellExecuted):
            content, before = state.files.get(SUBMISSION), branch.graded
            branch.graded = content
            if content is None or content == before:
                assert step.submission is None, step.submission
            elif content.startswith(b"id"):
                assert isinstance(step.submission, Graded), step.submission
                assert step.submission.sha256 == hashlib.sha256(content).hexdigest()
                score = step.submission.grade.public_score
                assert self.tiny.scores.setdefault(content, score) == score
            else:
                assert isinstance(step.submission, Rejected), step.submission
        branch.scores.append(score)
        branch.history.append(state)
        branch.looked.append(branch.graded)
        assert len(branch.history) == len(branch.episode.steps) + 1

    async def _validate(self, branch: Branch, do: Do) -> None:
        state, code = self._cell(branch, do)
        ending = {"error": "raise ValueError(2)", "exit": "os._exit(5)"}
        _, _, how = do.kind.partition(" ")
        step = await branch.episode.act(ValidateCode(code=code + OUTLINE + ending.get(how, "")))
        assert isinstance(step.outcome, CodeValidated)
        cell = step.outcome.cell
        self._recovered(branch, cell)
        assert (cell.broke is not None) == (how == "exit"), cell
        if how != "exit":  # its last words may be lost with it
            assert outline_of(cell) == state.outline()
            assert (cell.error is not None) == (how == "error"), cell.error
        self._remember(branch, step, branch.state)

    async def _kill(self, branch: Branch, do: Do) -> None:
        """Kill another process of the same box from a cell that is only tried."""
        victims = [b for b in self.living if b.home is branch.home]
        victim = victims[do.other % len(victims)]
        await victim.episode._live._kept()
        match do.kind:
            case "kill kernel":
                kernel = victim.episode._live._state.kernel
                pid = kernel.process.pid if kernel is not None and not kernel.death_reason else None
            case "kill standby":
                kept = victim.episode._live._checkpoints
                pid = kept[-1 - do.other // 4 % len(kept)].standby.pid if kept else None
            case _:
                template = branch.home.template
                pid = template.pid if template is not None else None
        if pid is None or not await self._alive(branch, pid):
            return
        step = await branch.episode.act(ValidateCode(code=f"import os; os.kill({pid}, 9)"))
        assert isinstance(step.outcome, CodeValidated)
        assert step.outcome.cell.error is None, step.outcome.cell
        self._recovered(branch, step.outcome.cell)
        self._remember(branch, step, branch.state)
        if do.kind == "kill kernel":
            victim.broken = True
            await dead(victim)

    async def _alive(self, branch: Branch, pid: int) -> bool:
        """Whether a number of the box is still that of a copy of a kernel."""
        found = await branch.episode._live.sandbox.run(
            ["cat", f"/proc/{pid}/cmdline"], timeout_s=10
        )
        return b"guest.template" in found.output

    async def _kill_container(self, branch: Branch) -> None:
        sharing = [b for b in self.living if b.home is branch.home]
        for each in sharing:
            await each.episode._live._kept()
        container = branch.episode._live.sandbox._creating.result()  # type: ignore[attr-defined]
        await asyncio.to_thread(container.kill)
        for each in sharing:
            each.broken = True
            await dead(each)

    async def _fork(self, branch: Branch, do: Do) -> None:
        room = MOST_LIVING - len(self.living)
        if not room:
            gone = self.living.pop(do.other % len(self.living))
            await self._end(gone)
            room = 1
            if gone is branch:
                return
        now = len(branch.episode.steps)
        at = None if do.kind != "fork earlier" else now - 1 - do.other
        step = now if at is None else max(0, at)
        reseed = do.kind == "fork reseeded" or do.other % 7 == 1
        number = min(room, 1 + do.other % 2)
        children = await branch.episode.fork(
            number, at_step=at if at is None else step, reseed=reseed
        )
        branch.broken = False
        assert len(children) == number
        for child in children:
            fork = child.rules.header.fork
            assert fork is not None
            assert (fork.episode, fork.step) == (branch.episode.rules.header.episode, step)
            assert fork.lost == ""
            assert (fork.seed is not None) == reseed
            state = branch.history[step]
            history = branch.history[: step + 1]
            if reseed:
                state = replace(copy.deepcopy(state), drawn=random.Random(fork.seed).getstate())
                history[-1] = state
            self.living.append(
                Branch(
                    child,
                    state,
                    history,
                    branch.scores[:step],
                    branch.looked[step],
                    branch.looked[: step + 1],
                )
            )

    async def _end(self, branch: Branch) -> None:
        ending = await branch.episode.end()
        assert ending.status == "finished", ending
        assert ending.reason == "the agent was done"
        best = min(
            ((score, step) for step, score in enumerate(branch.scores, 1) if score is not None),
            default=(None, None),
        )
        assert (ending.grade and ending.grade.public_score, ending.chosen_step) == best


async def dead(branch: Branch) -> None:
    """Wait until the death of a kernel is known."""
    kernel = branch.episode._live._state.kernel
    for _ in range(1000):
        if kernel is None or kernel.death_reason:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the kernel was killed and did not die")


class limited:  # noqa: N801 - used as a context manager
    """For one cell: little time, and little time to heed the interrupt."""

    def __init__(self, episode: Episode, cell_s: float, interrupt_s: float = 5.0) -> None:
        self.episode, self.cell_s, self.interrupt_s = episode, cell_s, interrupt_s
        self.rules = episode.rules

    def __enter__(self) -> None:
        budget = replace(self.rules.budget, cell_seconds=self.cell_s)
        self.episode.rules = replace(self.rules, budget=budget)
        client.INTERRUPT_S = self.interrupt_s

    def __exit__(self, *_: object) -> None:
        self.episode.rules, client.INTERRUPT_S = self.rules, 5.0


def test_whatever_is_done_to_a_tree_of_episodes_nothing_is_lost(
    tiny: str, sandbox: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    class ThisTree(Tree):
        pass

    ThisTree.sandbox, ThisTree.task, ThisTree.out = sandbox, tiny, tmp_path
    ThisTree.kinds = {}

    actions = int(os.environ.get("KERNEL_ENV_ACTIONS", ACTIONS[sandbox]))

    try:
        run_state_machine_as_test(
            ThisTree,
            settings=settings(
                max_examples=1 + -(-actions // LONGEST),  # the first is one of doing nothing
                stateful_step_count=LONGEST,
                deadline=None,
                derandomize="CI" in os.environ,
                database=None,
                phases=[Phase.generate],  # to shrink would take hours; the steps are printed
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
    finally:
        tell(f"{ThisTree.actions} actions in the {sandbox} sandbox: {ThisTree.kinds}")

    assert ThisTree.actions >= 0.9 * actions
