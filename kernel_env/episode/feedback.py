"""Let others comment on an agent's steps: a critic, a person, or the task with its hints.

A provider of feedback is asked after each step of the agent. What it says is a part of the step:
the agent reads it in its observation, the journal and the notebook keep it. The agent's clock
stands still meanwhile, and what a model's comment costs is counted apart from what the agent uses.

Providers are found by name, as entry points of the group `kernel_env.feedback`; each is a class
that is called with its settings and the task. Nothing that a provider does ends the episode: if it
fails, or nobody answers in time, the step says so.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from kernel_env import plugins
from kernel_env.episode.observation import observe
from kernel_env.episode.step import Remark, Step
from kernel_env.errors import KernelEnvError, UnknownName, UsageError
from kernel_env.tasks import Task
from kernel_env.untrusted_text import clipped, escape_line, escape_lines

if TYPE_CHECKING:
    from kernel_env.episode.episode import Episode

TIMEOUT_S = 600.0
"""The longest that a provider may take for one step."""
REMARK_CHARACTERS = 4_000
"""Limit of a remark; of a longer one head and tail are kept."""
Ask = Callable[[str], str | Awaitable[str]]
"""Asks a person a question and returns the answer."""


@runtime_checkable
class FeedbackProvider(Protocol):
    """Comments on steps. It may have a coroutine `aclose()`, which is called at the end."""

    name: str
    """Names it in steps and observations."""

    async def comment(self, step: Step, seen: str, episode: "Episode") -> Remark | None:
        """Return a remark on the agent's latest step; None for no remark.

        Args:
            step: the step, which is not yet among `episode.steps`.
            seen: what the agent would read without the remark.
            episode: the episode, which must not be changed.
        """


def provider_of(episode: "Episode") -> FeedbackProvider | None:
    """Return the provider that an episode's options choose; it is closed with the episode.

    One that was given as an object is its owner's, and shared by all forks.

    Raises `UnknownName`, `UsageError`, and what the provider's class raises.
    """
    config = episode.setup.config
    chosen = config.feedback_provider
    if not isinstance(chosen, str) or not chosen:
        return chosen or None
    make = plugins.find("feedback provider", chosen)
    made: FeedbackProvider = make(config.feedback_settings, episode.setup.task)
    if close := getattr(made, "aclose", None):
        episode.closing.push_async_callback(close)
    return made


async def with_remark(step: Step, provider: FeedbackProvider | None, episode: "Episode") -> Step:
    """Return an agent's step with the provider's remark. The agent's clock stands still."""
    if provider is None:
        return step
    seen = observe(step, episode.progress.after(step), episode.setup.budget).text
    with episode.turns.queued():
        return replace(step, remark=await remark_on(provider, step, seen, episode))


async def remark_on(
    provider: FeedbackProvider, step: Step, seen: str, episode: "Episode"
) -> Remark | None:
    """Ask a provider for a remark; whatever fails is one."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await provider.comment(step, seen, episode)
    except TimeoutError:
        return Remark(source=provider.name, missing=f"nobody answered within {TIMEOUT_S:g} s")
    except KernelEnvError as error:
        return Remark(source=provider.name, missing=escape_line(str(error)))
    except Exception as error:  # noqa: BLE001 - a provider is no part of the agent's work
        return Remark(source=provider.name, missing=escape_line(plugins.described(error)))
    if found is None:
        return None
    text = clipped(found.text, REMARK_CHARACTERS).encode(errors="replace").decode()
    return replace(found, text=text)


def check_settings(name: str, settings: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise `UnknownName` for a setting that a provider does not have."""
    for setting in settings:
        if setting not in known:
            raise UnknownName(f"setting of the feedback provider {name}", setting, known)


class StaticFeedback:
    """Gives the task's `hints` one after another, each after so many steps of the agent."""

    name = "static"

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Read the hints.

        Args:
            settings: `every`, the number of steps from one hint to the next; 5 by default.
            task: the task; `hints` in its task.toml.

        Raises `UsageError` for a task without hints or an invalid number, `UnknownName`.
        """
        check_settings(self.name, settings, ["every"])
        self._every, self._hints = settings.get("every", 5), task.file.hints
        if not isinstance(self._every, int) or self._every < 1:
            raise UsageError(f"every is {self._every!r}; it must be a whole number of at least 1")
        if not self._hints:
            raise UsageError(
                f"the task {task.id} has no hints to give; list them as `hints` in its task.toml"
            )

    async def comment(self, step: Step, seen: str, episode: "Episode") -> Remark | None:  # noqa: ARG002
        """Return the hint that is due after this step."""
        number, rest = divmod(episode.progress.steps + 1, self._every)
        if rest or number > len(self._hints):
            return None
        return Remark(source=self.name, text=self._hints[number - 1])


class LivePage(Protocol):
    """Where people watch episodes, and answer: a `WatchServer`."""

    async def ask(self, folder: Path, question: str) -> str:
        """Return the answer to a question about the episode of a folder."""


class HumanFeedback:
    """Asks a person: at the terminal, in the notebook that plays, by a function, on a live page."""

    name = "human"

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:  # noqa: ARG002
        """Find out how to ask.

        Args:
            settings: `ask`, a function `(question) -> answer`, also a coroutine's; without it the
                question is asked at the terminal, or in the notebook that runs this. `page`, a
                `LivePage`: asked there and at the terminal, if there is one; the first answer
                counts.
            task: not used.

        Raises `UsageError` where nobody can be asked, `UnknownName`.
        """
        check_settings(self.name, settings, ["ask", "page"])
        for name, value in settings.items():
            if not (callable(value) or hasattr(value, "ask")):
                raise UsageError(f"{name} is {value!r}; it can only be given in Python")
        self._page: LivePage | None = settings.get("page")
        self._ask: Ask | None = settings.get("ask")
        if self._ask is None:
            self._ask = usual_way() if self._page is None else terminal()

    async def comment(self, step: Step, seen: str, episode: "Episode") -> Remark | None:
        """Show what the agent sees, and ask."""
        question = f"{escape_lines(seen)}\n\nfeedback on step {step.number} (empty: none): "
        text = self._ask(question) if self._ask else None
        if not isinstance(text, str):
            ways = [text] if text else []
            if self._page is not None:
                ways.append(self._page.ask(episode.folder, question))
            text = await first_of(ways)
        return Remark(source=self.name, text=text.strip()) if text.strip() else None


async def first_of(answers: Sequence[Awaitable[str]]) -> str:
    """Return the first answer that comes, and wait for the others no longer."""
    asked = [asyncio.ensure_future(answer) for answer in answers]
    try:
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for each in asked:
            each.cancel()
        await asyncio.wait(asked)


def usual_way() -> Ask:
    """Return how a person is asked here. Raises `UsageError` if nobody can be."""
    if getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)():
        return input
    if ask := terminal():
        return ask
    raise UsageError(
        "the feedback provider human asks at the terminal, and standard input is none; answer on"
        " the live page (--watch), or in Python give it a function:"
        " feedback_settings={'ask': function}"
    )


def terminal() -> Ask | None:
    """Return how a person is asked at the terminal; None without one."""
    return ask_at_terminal if sys.stdin is not None and sys.stdin.isatty() else None


async def ask_at_terminal(question: str) -> str:
    """Write a question to standard error and return the line that is typed."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not answer.done():
            answer.set_result(sys.stdin.readline())

    sys.stderr.write(question)
    sys.stderr.flush()
    loop.add_reader(sys.stdin, read)
    try:
        return await answer
    finally:
        loop.remove_reader(sys.stdin)
        if not answer.done() or answer.cancelled():
            sys.stderr.write("\n")  # it was answered elsewhere, or nobody answered in time
