"""Read a suite file: which agents play which tasks, how often, and within which limits.

    name = "nightly"
    tasks = ["domain:tabular", "mnist-5k"]
    seeds = 3
    budget = { steps = 30, money = 0.50 }
    limits = { episodes = 8, money = 40 }
    anchor = "baseline"

    [endpoints.lab]
    base_url = "http://lab:8000/v1"

    [[agents]]
    name = "qwen"
    agent = "openai"
    model = "qwen2.5-coder"
    endpoint = "lab"

    [[agents]]
    name = "baseline"
    agent = "baseline"

Paths in the file are relative to its folder.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from kernel_env.agents.base import Options
from kernel_env.episode.budget import Budget
from kernel_env.errors import UnknownName, UsageError
from kernel_env.grading.protocol import Counts, Feedback

NAME, VARIABLE = r"^[A-Za-z0-9][A-Za-z0-9._-]*$", r"^[A-Za-z_][A-Za-z0-9_]*$"
PATTERNS = {
    NAME: "a name has letters, digits, '.', '_' and '-', and begins with a letter or digit",
    VARIABLE: "give the name of an environment variable",
}
"""What a pattern demands, for a reader."""
Name = Annotated[str, StringConstraints(pattern=NAME, max_length=64)]
Variable = Annotated[str, StringConstraints(pattern=VARIABLE)]
SingleLine = Annotated[str, StringConstraints(pattern=r"^[^\n]+$")]
Count = Annotated[int, Field(gt=0, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of a suite file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitsSection(Section):
    """What the whole suite may use. No limit is part of the key of an episode."""

    episodes: Count | None = None
    """Episodes at the same time; default: half of the processor cores."""
    starts: Count | None = None
    """Sandboxes that start at the same time; default: half of the processor cores."""
    margin_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Memory that stays free, GiB: an episode starts only if its task's memory and this are free,
    or if no other is running."""
    money: Positive | None = None
    """US dollars. An episode starts only if its own limit of money fits into what is left."""
    retries: Annotated[int, Field(ge=0, strict=True)] | None = None
    """How often an episode is played again that the model's service or the machine ended; default:
    5 and 3 times."""


class EndpointSection(Section):
    """A model's service. Its name is part of the key of an episode; URL and API key are not."""

    base_url: SingleLine
    """The URL of an OpenAI-compatible endpoint."""
    key_variable: Variable = "OPENAI_API_KEY"
    """The environment variable with the API key."""


class AgentSection(Section):
    """An agent with its options; see `Options`."""

    name: Name
    """What records and reports call it."""
    agent: SingleLine
    """`baseline`, `scripted`, `openai`, a plug-in's name, or `FILE.py:CLASS`."""
    model: str = ""
    """The model's name at the endpoint."""
    provider: str = ""
    """The name of the model's provider; see `agents.openai.providers`."""
    endpoint: str = ""
    """The name of a table `[endpoints.NAME]`; empty: the provider's URL, else OPENAI_BASE_URL."""
    settings: dict[str, Any] = {}
    """Options of this agent alone, by name."""
    max_calls: Count = 100
    """The most requests that its endpoint gets at once."""
    temperature: Price | None = None
    """The sampling temperature; None: the endpoint's default."""
    price_in: Price | None = None
    """US dollars per million prompt tokens; None: see `agents.openai.prices`."""
    price_out: Price | None = None
    """US dollars per million completion tokens; None: see `agents.openai.prices`."""
    context_tokens: Count = 32_000
    """The model's context in tokens."""
    answer_tokens: Count = 4_000
    """The most tokens of one answer."""
    images: bool = False
    """Whether the pictures of observations are sent to the model."""
    script: Path | None = None
    """The file that `scripted` plays."""


class SuiteFile(Section):
    """The content of a suite file. Only `name`, `tasks` and `agents` are required."""

    name: Name
    """The suite's name, and that of its folder below `suites`."""
    tasks: Annotated[list[SingleLine], Field(min_length=1)]
    """Names or folders of tasks, `domain:NAME` for all of a domain, `pack:NAME` or `pack:NAME/SET`
    for those of a pack that are made, or `source:NAME` for all that
    were imported from a benchmark."""
    agents: Annotated[list[AgentSection], Field(min_length=1)]
    """At least one."""
    endpoints: dict[Name, EndpointSection] = {}
    """The services that agents name."""
    seeds: Count = 1
    """Episodes of each agent on each task, with the seeds 0 … N-1."""
    budget: dict[str, int | float] = {}
    """Limits of each episode that replace the task's own; see `Budget`."""
    limits: LimitsSection = LimitsSection()
    anchor: str = ""
    """The agent with which each is compared, and whose Elo is 1000; empty: the report chooses."""
    sandbox: SingleLine = "docker"
    """`docker`, `local`, or a plug-in's name. `auto` is none: records of different sandboxes cannot
    be compared."""
    image: str = ""
    """The image of the sandbox; empty for the task's."""
    reward: SingleLine = "progress"
    """See `EpisodeConfig`."""
    feedback: Feedback | None = None
    """Which scores the agents see; None for the task's own rule."""
    counts: Counts | None = None
    """Which submission counts, the `best` or the `last`; None for the task's own rule."""
    gpus: Annotated[int, Field(ge=0, strict=True)] | None = None
    """GPUs of each episode; None for the task's."""


def read_suite_file(path: Path) -> SuiteFile:
    """Read a suite file and check all that needs no task. Raises `UsageError`, in one line."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist; give a suite file") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; give a suite file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    try:
        file = SuiteFile.model_validate(content)
    except ValidationError as error:
        faults = [fault_of(each) for each in error.errors()]
        raise UsageError(f"{path}: {'; '.join(dict.fromkeys(faults))}") from error
    if faults := list(faults_of(file)):
        raise UsageError(f"{path}: {'; '.join(faults)}")
    return file


def fault_of(error: ErrorDetails) -> str:
    """Return what is wrong with a key of a suite file, as text."""
    *parents, key = [part for part in error["loc"] if part != "[key]"] or ["the file"]
    where, field = title_of(parents), ".".join(map(str, (*parents, key)))
    match error["type"]:
        case "missing":
            return f"the key {field} is missing"
        case "extra_forbidden":
            return str(UnknownName(f"key of {where}", str(key), keys_of(parents)))
        case "too_short":
            return f"{field} is empty; it must have at least one entry"
    shown = repr(error["input"])
    value = "" if isinstance(error["input"], dict | list) else f" ({shown[:80]})"
    message = error["msg"][:1].lower() + error["msg"][1:]
    if error["type"] == "string_pattern_mismatch":
        message = PATTERNS.get(error["ctx"]["pattern"], "it must be one line")
    return f"{field} is wrong{value}: {message}"


def title_of(parents: list[int | str]) -> str:
    """Return the name of the table in which a key is."""
    match parents:
        case []:
            return "a suite file"
        case ["agents", *_]:
            return "[[agents]]"
    return f"[{'.'.join(map(str, parents))}]"


def keys_of(parents: list[int | str]) -> list[str]:
    """Return the keys that a table of a suite file can have."""
    sections: dict[Any, type[Section]] = {
        "agents": AgentSection,
        "endpoints": EndpointSection,
        "limits": LimitsSection,
    }
    return list(sections[parents[0]].model_fields if parents else SuiteFile.model_fields)


def faults_of(file: SuiteFile) -> Iterator[str]:
    """Yield what is wrong with a suite file whose keys are right."""
    names = [agent.name for agent in file.agents]
    for name, count in Counter(name.lower() for name in names).items():
        if count > 1:  # folders of some systems do not tell the case apart
            yield f"{count} agents are named {name!r}; give each a name of its own"
    if file.anchor and file.anchor not in names:
        yield f"the anchor: {UnknownName('agent', file.anchor, names)}"
    for agent in file.agents:
        if agent.endpoint and agent.endpoint not in file.endpoints:
            yield f"agent {agent.name}: {UnknownName('endpoint', agent.endpoint, file.endpoints)}"
    if file.sandbox == "auto":
        yield "the sandbox is 'auto'; name one, because records of several cannot be compared"
    try:
        Budget().changed(file.budget)
    except UsageError as error:
        yield str(error)
    yield from money_faults(file)


def has_price(agent: AgentSection) -> bool:
    """Return whether the price of an agent's model is known. Raises `UsageError`."""
    if agent.price_in is not None and agent.price_out is not None:
        return True
    from kernel_env.agents.openai.prices import price_of
    from kernel_env.agents.openai.providers import endpoint_of

    options = Options(model=agent.model, provider=agent.provider)
    provider = agent.provider if agent.endpoint else endpoint_of(options).provider
    return price_of(options, provider) is not None


def money_faults(file: SuiteFile) -> Iterator[str]:
    """Yield why a limit of money would limit nothing."""
    cap = file.budget.get("money")
    if file.limits.money is None and cap is None:
        return
    models = [agent for agent in file.agents if agent.model]
    unpriced = [each.name for each in models if not has_price(each)]
    if unpriced:
        yield (
            f"money is limited, and the model of {', '.join(unpriced)} has no price; set price_in"
            " and price_out or the provider, or remove the limit"
        )
    if file.limits.money is not None and models:
        if cap is None:
            yield "limits.money needs budget.money, which is reserved before an episode starts"
        elif cap > file.limits.money:
            yield f"budget.money is {cap:g}, more than limits.money, {file.limits.money:g}"
