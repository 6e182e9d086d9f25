"""Fit generic models of the task's kind of data, chosen on held-out rows.

The pipeline uses the public files and the submission's format alone. Its cells, in order: the
facts of the task, the tables, the validation, features and models of the domain, the comparison of
the models on held-out rows, the submission. If a cell fails, the pipeline for tables runs, and if
that fails as well, the best constant is submitted; the output of the cells says so.
"""

from types import ModuleType

from kernel_env.agents.reference.cells import PlannedCell, cell_source, definitions, run_cells
from kernel_env.agents.reference.guest import (
    forecasting,
    language,
    models,
    problem,
    submission,
    tabular,
    vision,
    windows,
)
from kernel_env.agents.reference.simple import SimpleAgent, constant_cells
from kernel_env.episode.episode import Episode
from kernel_env.untrusted_text import escape_line

FAILURE_CHARACTERS = 300
"""The longest failure that the next attempt prints."""
PROBLEM = """\
problems = {target: define_problem(tables, TASK, target) for target in tables.targets}
splits = {target: hold_out(tables, problem) for target, problem in problems.items()}"""
COMPARE = """\
chosen = {
    target: compare(problem, candidates[target], splits[target])
    for target, problem in problems.items()
}"""
SUBMIT = """\
values = {
    target: predict(problem, candidates[target], chosen[target])
    for target, problem in problems.items()
}
submit(tables, values)"""


class AutomlLite(SimpleAgent):
    """The agent `automl-lite`: a generic pipeline for the task's domain; the seed is the episode's.

    Its places are what a competent first attempt reaches without an idea about the task.
    """

    async def play(self, episode: Episode) -> None:
        """Run the pipeline of the domain; if it fails, the one for tables, then the constant."""
        file = episode.setup.task.file
        domain = domain_module(file.domain, file.kind)
        attempts = [pipeline(episode, domain)]
        if domain is not tabular:
            attempts.append(pipeline(episode, tabular))
        attempts.append(constant_cells(episode))
        failure = ""
        for cells in attempts:
            if failure:
                text = escape_line(f"The pipeline failed: {failure}"[:FAILURE_CHARACTERS])
                cells = [PlannedCell(title=text, source=f"print({text!r})"), *cells]
            failure = await run_cells(episode, cells)
            if not failure:
                return


def domain_module(domain: str, kind: str) -> ModuleType:
    """Return the module of `guest` for a domain; the one for tables for an unknown domain."""
    if domain == "time series":
        return forecasting if kind == "regression" else windows
    return {"language": language, "vision": vision}.get(domain, tabular)


def pipeline(episode: Episode, domain: ModuleType) -> list[PlannedCell]:
    """Return the cells of a pipeline with the features and models of a module of `guest`."""
    name = domain.__name__.rpartition(".")[2]
    build = (
        "candidates = {\n"
        f"    target: {name}_candidates(tables, problem) for target, problem in problems.items()\n"
        "}"
    )
    steps = (
        ("Hold out rows as the task does.", problem, PROBLEM),
        ("Make features and name models for them.", domain, build),
        ("Compare the models on the held-out rows.", models, COMPARE),
        ("Fit the best on all training rows and submit.", submission, SUBMIT),
    )
    look = "tables = read_tables(TASK)\ndescribe(tables)"
    return [
        *definitions(episode),
        PlannedCell(title="Look at the data.", source=look),
        *(PlannedCell(title=title, source=cell_source(m, call)) for title, m, call in steps),
    ]
