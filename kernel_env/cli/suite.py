"""Implement `kernel-env suite`: play many agents on many tasks from one file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_env.cli.console import fail, print_json, print_result, print_table
from kernel_env.cli.suite_monitor import LiveMonitor, PlainMonitor

if TYPE_CHECKING:
    from kernel_env.suite.plan import Suite
    from kernel_env.suite.status import JobStatus, Status

app = typer.Typer(
    no_args_is_help=True,
    help="Play many agents on many tasks from one file; stop and resume at any time.",
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The suite file (TOML).")]
Out = Annotated[Path, typer.Option(help="Folder that has the suite's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SUITES = Path("suites")


@app.command("run")
def run(
    file: File,
    out: Out = SUITES,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print what would be played, and play nothing.")
    ] = False,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Play the I-th of N shares of the jobs.")
    ] = "1/1",
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Episodes at the same time (default: the file's limit)."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Where episodes are played: local, or ray (a Ray cluster).")
    ] = "local",
    json: Annotated[
        bool, typer.Option("--json", help="Print each record, and last the status, as JSON.")
    ] = False,
) -> None:
    """Play all that is left of a suite. What is done is not played again."""
    import asyncio

    from kernel_env.suite.driver import find_engine, read_status, run_suite
    from kernel_env.suite.plan import parse_shard, plan_suite, with_episodes

    share, open_engine = parse_shard(shard), find_engine(engine)
    suite = plan_suite(file, out)
    if jobs is not None:
        suite = with_episodes(suite, jobs)
    if plan:
        show_plan(suite, read_status(suite), json=json)
        return
    with monitored(suite, json=json) as monitor:
        try:
            status = run_suite(suite, monitor, shard=share, open_engine=open_engine)
        except (KeyboardInterrupt, asyncio.CancelledError):
            fail(f"interrupted; kernel-env suite run {file} continues", code=130)
    show_status(status, json=json)
    mine = {job.key for job in suite.jobs if share.has(job)}
    if any(job.state != "done" for job in status.jobs if job.key in mine):
        raise typer.Exit(1)


@app.command("status")
def status(file: File, out: Out = SUITES, json: Json = False) -> None:
    """Show where a suite stands: what is done, playing, missing and why, and what it costs."""
    from kernel_env.suite.driver import read_status
    from kernel_env.suite.plan import plan_suite

    show_status(read_status(plan_suite(file, out)), json=json)


@app.command("stop")
def stop(
    file: File,
    out: Out = SUITES,
    now: Annotated[
        bool, typer.Option("--now", help="End the episodes that are being played, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Ask the drivers of a suite to stop; without --now, after the episodes that they play."""
    from kernel_env.suite.driver import request_stop
    from kernel_env.suite.file import read_suite_file

    folder = (out / read_suite_file(file).name).absolute()
    drivers = request_stop(folder, "now" if now else "drain")
    if json:
        print_json({"drivers": drivers})
    elif drivers:
        when = "now" if now else "after the episodes that are being played"
        print_result(f"{counted(drivers, 'driver')} will stop {when}")
    else:
        print_result("no driver plays this suite")


@app.command("retry")
def retry(
    file: File,
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY…]", help="Keys of missing jobs (default: all missing)."),
    ] = None,
    out: Out = SUITES,
    json: Json = False,
) -> None:
    """Let missing jobs be played again at the next start: earlier faults do not count any more."""
    from kernel_env.suite.driver import retry as pardon
    from kernel_env.suite.plan import plan_suite

    chosen = pardon(plan_suite(file, out), keys or [])
    if json:
        print_json({"keys": [job.key for job in chosen]})
        return
    for job in chosen:
        print_result(f"{job.key[:12]}  {job.name}")
    again = f"kernel-env suite run {file}"
    print_result(f"{counted(len(chosen), 'job')} will be played again by {again}")


# ── what is shown ─────────────────────────────────────────────────────────────────────────

FATES = {
    "reuse": "done",
    "regrade": "done, to be graded again without an episode",
    "rerun": "to be played again",
    "new": "new",
    "orphan": "with settings that the file does not have any more; they are kept",
}
"""What becomes of jobs at the next start."""


def show_plan(suite: "Suite", status: "Status", *, json: bool) -> None:
    """Print what the next start of a suite does."""
    if json:
        print_json(status.json())
        return
    tasks = len({job.task for job in suite.jobs})
    agents, seeds = len(suite.file.agents), suite.file.seeds
    print_result(
        f"{suite.file.name}: {counted(agents, 'agent')}, {counted(tasks, 'task')},"
        f" {counted(seeds, 'seed')}: {counted(len(suite.jobs), 'episode')}"
    )
    for fate, text in FATES.items():
        if count := status.fates.get(fate, 0):
            print_result(f"{count:>6} {text}")
    cap = suite.file.budget.get("money")
    paying = {agent.name for agent in suite.file.agents if agent.model}
    paid = sum(job.agent in paying and job.fate in ("rerun", "new") for job in status.jobs)
    if paid:
        most = f"at most ${cap * paid:.2f}" if cap else "no limit of money"
        print_result(f"{counted(paid, 'episode')} with a model: {most}")
    print_result(time_text(status))
    show_difference(suite, status)
    show_reasons(status)


def show_difference(suite: "Suite", status: "Status") -> None:
    """Print the smallest difference of two agents that the whole suite can find."""
    if len(suite.file.agents) < 2:
        return
    found = status.smallest_difference
    if found is None:
        tasks = len({job.task for job in suite.jobs})
        few = "one task tells no difference from chance" if tasks < 2 else "no results yet to tell"
        print_result(f"smallest difference that can be found: {few}")
    else:
        print_result(
            f"smallest difference of two agents' mean positions that is found in 4 of 5 cases:"
            f" {100 * found:.1f} points of 100, by the spread of the results until now"
        )


def show_status(status: "Status", *, json: bool) -> None:
    """Print where a suite stands."""
    if json:
        print_json(status.json())
        return
    print_result(summary(status))
    if reasons := reasons_text(status):
        print_result(reasons)
    show_reasons(status)
    rows = [row_of(job) for job in status.jobs if job.state != "done" and job.reason]
    if rows:
        print_table(["key", "agent", "task", "seed", "state", "attempts", "reason"], rows)
    print_result(f"folder: {status.folder}")


def show_reasons(status: "Status") -> None:
    """Print which settings have changed, and which jobs may break the machine themselves."""
    changed = {name for job in status.jobs for name in job.changed}
    if changed:
        count = sum(bool(job.changed) for job in status.jobs)
        print_result(f"{counted(count, 'job')} with changed settings: {', '.join(sorted(changed))}")
    for job in status.jobs:
        if job.repeatable:
            print_result(
                f"repeatable: {job.agent} on {job.task}, seed {job.seed}: the machine fails each"
                " time, where other agents finish; look at its last step"
            )


def row_of(job: "JobStatus") -> list[str]:
    """Return the cells of a job in the table of those that are not done."""
    state = {"due": "to be played", "waiting": "retried later"}.get(job.state, job.state)
    return [
        *(job.key[:12], job.agent, job.task, str(job.seed)),
        *(state, str(job.attempts), job.reason),
    ]


def summary(status: "Status") -> str:
    """Return where a suite stands, in one line."""
    states = status.states
    parts = [f"{states.get('done', 0)} of {counted(len(status.jobs), 'episode')} done"]
    for state, text in (
        ("running", "playing"),
        ("waiting", "retried later"),
        ("due", "to be played"),
        ("missing", "missing"),
    ):
        if count := states.get(state, 0):
            parts.append(f"{count} {text}")
    limit = f" of ${status.money_limit:.2f}" if status.money_limit else ""
    if status.money or limit:
        parts.append(f"${status.money:.2f}{limit}")
    if any(states.get(state) for state in ("running", "waiting", "due")):
        parts.append(time_text(status))
    return f"{status.suite}: {' · '.join(parts)}"


def time_text(status: "Status") -> str:
    """Return how long the rest takes, as text."""
    left, unknown = status.seconds_left, status.unknown
    if left is None:
        return "time left unknown"
    hours, minutes = divmod(round(left / 60), 60)
    text = f"about {hours} h {minutes} min" if hours else f"about {minutes} min"
    text = text if hours or minutes else "under 1 min"
    more = f" + {counted(unknown, 'episode')} of unknown length" if unknown else ""
    return f"{text} left{more}"


def reasons_text(status: "Status") -> str:
    """Return who failed in the jobs without a result, and how often; empty if nobody did."""
    found = sorted(status.reasons.items(), key=lambda item: -item[1])
    return f"without a result: {', '.join(f'{n} {who}' for who, n in found)}" if found else ""


def counted(count: int, noun: str) -> str:
    """Return a number and a noun, in the plural where it belongs."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# ── while it runs ─────────────────────────────────────────────────────────────────────────


@contextmanager
def monitored(suite: "Suite", *, json: bool) -> Iterator[PlainMonitor]:
    """Yield a monitor: a table on stderr if that is a terminal, otherwise lines."""
    from rich.console import Console

    console = Console(stderr=True)
    if json or not console.is_terminal:
        yield PlainMonitor(suite, json=json)
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield LiveMonitor(suite, live)
