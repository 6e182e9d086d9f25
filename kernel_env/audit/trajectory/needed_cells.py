"""Select the cells that the submission that counts needs, as far as names and files tell.

A cell is played if it binds or may change a name that a later played cell uses, wrote a file that
one names, may have moved the random states that one draws from, or cannot be understood. What is
known of a cell is its code (`data_flow`) and the recorded variables and files that it changed.

Not seen are: objects that share memory without being parts of each other, random states that a
library draws from by itself, files outside the workspace that no text names. So a submission that
differs can mean that a skipped cell mattered; a full replay tells.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from kernel_env.audit.trajectory.data_flow import Flow, flow_of
from kernel_env.audit.trajectory.steps import final_step
from kernel_env.audit.trajectory.verdict import Planned
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.step import CodeValidated, KernelReset, Step
from kernel_env.episode.trajectory import Trajectory
from kernel_env.errors import UsageError
from kernel_env.kernel.guest.namespace_diff import MAX_REPORTED
from kernel_env.untrusted_text import quote_name

SHOWING = frozenset({"matplotlib", "seaborn", "plotly", "altair", "bokeh", "IPython", "time", "gc"})
"""Libraries whose functions do not change the data that they are called with."""
SETTING = re.compile(r"set|seed|use|enable|disable|manual|register|chdir|filter|add|put|environ")
"""The beginnings of names of functions that change how a library works."""
PURE = frozenset({"print", "display", "len", "repr", "str", "type", "isinstance"})
"""Functions that do not change what they are called with."""
NOT_PARSED = ("SyntaxError", "IndentationError", "TabError")
SUBMISSION_PATH = "OUTPUT_PATH"
SHORTEST = 3
"""A text with fewer characters is not taken for the name of a file."""


def plan_final(trajectory: Trajectory) -> tuple[Planned, ...]:
    """Return for each step whether the submission that counts needs it, and why.

    Raises `UsageError` if no submission counts.
    """
    final = final_step(trajectory)
    if final is None:
        raise UsageError("no submission of this episode counts; --final-only has nothing to play")
    steps = list(trajectory.steps[:final])
    resets = [step.number for step in steps if isinstance(step.outcome, KernelReset)]
    plan = {
        step.number: Planned(step=step.number, played=False, reason=reason)
        for step in trajectory.steps
        if (reason := reason_to_skip(step, final, resets[-1] if resets else 0))
    }
    selection = Selection([step for step in steps if step.number not in plan], final)
    plan |= {planned.step: planned for planned in selection.plan()}
    return tuple(plan[number] for number in sorted(plan))


def reason_to_skip(step: Step, final: int, reset: int) -> str:
    """Return why a step cannot matter whatever its code is; empty if it can."""
    if step.number > final:
        return f"it came after step {final}, whose submission counts"
    if step.number < reset:
        return f"step {reset} reset the kernel and the workspace"
    if isinstance(step.outcome, CodeValidated):
        return "it was a trial, of which nothing lasts"
    if not isinstance(step.action, ExecuteCode):
        return "it runs no code"
    if step.cell is not None and step.cell.undone:
        return "it crashed the kernel and was undone"
    return ""


@dataclass(frozen=True)
class Candidate:
    """A cell that may be needed."""

    step: Step
    flow: Flow
    changes: frozenset[str]
    """All names that it binds, or whose objects it may change."""
    files: frozenset[str]
    """Files that it wrote or deleted; `*` for more than are recorded."""

    @property
    def number(self) -> int:
        """Return the step's number."""
        return self.step.number

    @property
    def did_not_parse(self) -> bool:
        """Return whether nothing of the cell ran. A newer Python can parse what this one cannot."""
        error = self.step.cell.error if self.step.cell else None
        return error is not None and error.name in NOT_PARSED

    def ends_search(self, name: str) -> bool:
        """Return whether earlier values of a name do not matter after it."""
        cell = self.step.cell
        whole = cell is not None and cell.error is None and not cell.timed_out
        return whole and name in self.flow.replaces


class Selection:
    """Grows from the cell that made the submission until nothing more is needed."""

    def __init__(self, steps: list[Step], final: int) -> None:
        flows = [flow_of(step.action.code) for step in steps]  # type: ignore[union-attr]
        names = Names(flows)
        self.candidates = [
            Candidate(step, flow, names.changed_by(flow, step), written_by(step))
            for step, flow in zip(steps, flows, strict=True)
        ]
        self.final = final
        self.kept: dict[int, str] = {}
        self._open: list[Candidate] = []
        """Cells that are kept, and whose names were not looked for yet."""
        self._searched: set[tuple[str, int, bool]] = set()

    def plan(self) -> Iterator[Planned]:
        """Yield what to do with each cell, and why."""
        for each in self.candidates:
            if each.number == self.final:
                self.keep(each, "its submission counts")
            elif each.flow.opaque and not each.did_not_parse:
                self.keep(each, each.flow.opaque)
            elif each.flow.always:
                self.keep(each, each.flow.always)
        while self._open or self.keep_more():
            if self._open:
                self.keep_what_it_uses(self._open.pop())
        for each in self.candidates:
            if each.number in self.kept:
                yield Planned(step=each.number, played=True, reason=self.kept[each.number])
            else:
                reason = "nothing that is played uses what it does"
                reason = "its code did not parse" if each.did_not_parse else reason
                yield Planned(step=each.number, played=False, reason=reason)

    def keep(self, candidate: Candidate, reason: str) -> None:
        """Keep a cell; what it uses is looked for later."""
        if candidate.number not in self.kept:
            self.kept[candidate.number] = reason
            self._open.append(candidate)

    def keep_what_it_uses(self, candidate: Candidate) -> None:
        """Keep all cells that bind or change what a cell uses."""
        flow = candidate.flow
        if flow.opaque:
            for earlier in self.before(candidate.number):
                self.keep(earlier, f"step {candidate.number} may use anything: {flow.opaque}")
        for name in sorted(flow.uses):
            self.search(name, candidate.number, candidate.number)
        for name in sorted(flow.fills):
            self.search(name, candidate.number, candidate.number, only_binding=True)
        own = flow.replaces if candidate.number == self.final else set()
        for name in sorted(flow.used_in_functions - own):
            self.search(name, self.final, candidate.number)
        for name in sorted(flow.filled_in_functions - own):
            self.search(name, self.final, candidate.number, only_binding=True)

    def search(self, name: str, before: int, user: int, *, only_binding: bool = False) -> None:
        """Keep the cells before a step that bind a name, or change its object."""
        if (name, before, only_binding) in self._searched:
            return
        self._searched.add((name, before, only_binding))
        for candidate in reversed(self.before(before)):
            if name in (candidate.flow.binds if only_binding else candidate.changes):
                verb = "binds" if name in candidate.flow.binds else "may change"
                self.keep(candidate, f"it {verb} {name}, which step {user} uses")
                if candidate.ends_search(name):
                    return

    def before(self, number: int) -> list[Candidate]:
        """Return the cells before a step."""
        return [each for each in self.candidates if each.number < number]

    def keep_more(self) -> bool:
        """Keep a cell whose files or random numbers a played cell needs; say if there was one."""
        played = [each for each in self.candidates if each.number in self.kept]
        constants = set().union(*(each.flow.constants for each in played))
        for candidate in self.candidates:
            later = [each for each in played if each.number > candidate.number]
            if candidate.number in self.kept or not later:
                continue
            if candidate.flow.random and any(each.flow.random for each in later):
                self.keep(candidate, "it may draw random numbers, and so do later cells")
                return True
            if reason := needed_file(candidate, later, constants):
                self.keep(candidate, reason)
                return True
        return False


def needed_file(candidate: Candidate, later: list[Candidate], constants: set[str]) -> str:
    """Return why a file that a cell wrote is needed by those played later; empty if it is not."""
    if candidate.files and any(each.flow.searches for each in later):
        return "it wrote files, and a later cell looks for files"
    if "*" in candidate.files:
        return "it wrote more files than are recorded"
    for file in sorted(candidate.files):
        if any(names_file(text, file) for text in constants):
            return f"it wrote {quote_name(file)}, which is named in a cell that is played"
    if candidate.step.submission is not None and any(map(reads_submission, later)):
        return "it wrote a submission, and a later cell reads one"
    outside = {text for text in candidate.flow.constants if is_outside(text)}
    if shared := sorted(outside & constants):
        return f"it names {quote_name(shared[0])}, as a cell that is played does"
    return ""


def names_file(text: str, path: str) -> bool:
    """Return whether a text in code can be the name of a file, or a part of it."""
    name, file = PurePosixPath(text.strip()).name, PurePosixPath(path).name
    return len(name) >= SHORTEST and (name in file or file in name)


def reads_submission(candidate: Candidate) -> bool:
    """Return whether a cell may read the submission file."""
    reads, made_of = candidate.flow.reads, candidate.flow.made_of
    names = {SUBMISSION_PATH, *(name for name in made_of if "OUT" in name.upper())}
    return any("submission" in text or text in names for text in reads - {"sample_submission.csv"})


def is_outside(text: str) -> bool:
    """Return whether a text is a path outside the workspace and the data."""
    return text.startswith(("/tmp/", "/dev/shm/", "/var/tmp/"))  # noqa: S108


def written_by(step: Step) -> frozenset[str]:
    """Return the files that a cell changed, without the submission."""
    files = step.cell.files if step.cell else ()
    found = {each.path for each in files if PurePosixPath(each.path).name != "submission.csv"}
    return frozenset(found | ({"*"} if len(files) >= MAX_REPORTED else set()))


class Names:
    """What the names in all cells stand for: functions with effects, libraries, shared objects."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        self.modules: dict[str, str] = {}
        self.changes_arguments: set[str] = set()
        self.changes_owner: set[str] = set()
        self._effects: dict[str, set[str]] = {}
        self._made_of: dict[str, set[str]] = {}
        self._aliases: list[set[str]] = []
        for flow in flows:
            self.modules |= flow.modules
            self.changes_arguments |= flow.changes_arguments
            self.changes_owner |= flow.changes_owner
            merge(self._effects, flow.effects)
            merge(self._made_of, flow.made_of)
            self._aliases += flow.aliases

    def changed_by(self, flow: Flow, step: Step) -> frozenset[str]:
        """Return all names that a cell binds, or whose objects it may change."""
        changed = set(flow.changes)
        for call in flow.calls:
            module = self.modules.get(call.owner) or self.modules.get(call.function)
            if (
                call.function in self.changes_owner
                or (call.is_statement and not module)
                or (module and SETTING.match(call.function))
            ):
                changed.add(call.owner)
            if call.function in self.changes_arguments or (
                call.is_statement
                and call.function not in self._effects
                and call.function not in PURE
                and module not in SHOWING
            ):
                changed |= call.arguments
            changed |= self.effects_of(call.function)
        for name in flow.uses | flow.fills:
            changed |= self.effects_of(name)
        aliases = [*self._aliases, *flow.loop_aliases]
        while more := set().union(*(names for names in aliases if names & changed)) - changed:
            changed |= more
        recorded = {each.name for each in step.cell.variables} if step.cell else set()
        return frozenset(changed | flow.binds | recorded)

    def effects_of(self, name: str) -> set[str]:
        """Return the names whose objects a function may change, or the functions in an object."""
        found: set[str] = set()
        seen, open_ = {name}, [name]
        while open_:
            each = open_.pop()
            found |= self._effects.get(each, set())
            new = self._made_of.get(each, set()) - seen
            seen |= new
            open_ += new
        return found


def merge(one: dict[str, set[str]], other: Mapping[str, set[str]]) -> None:
    """Add the sets of one mapping to those of another."""
    for name, values in other.items():
        one.setdefault(name, set()).update(values)
