"""Look for known leaks in the data of tasks whose own grader reads the files.

Such a task declares no columns. They are guessed from the sample submission and a private table
that has its columns; then the checks of tables apply as to any other task.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kernel_env.audit.task.finding import Finding, failed, not_applicable, ok
from kernel_env.audit.task.task_under_test import TaskUnderTest, load_tables, read_table
from kernel_env.grading.submission import SubmissionSchema
from kernel_env.tasks import Task
from kernel_env.tasks.prepare import Prepared, sha256_of

SAMPLE = "sample_submission.csv"
MAX_TABLE_BYTES = 500_000_000
"""Larger tables are not read."""


def check_files(prepared: Prepared) -> Finding:
    """Check that no private file is public, too, under whatever name."""
    check = "private files"
    hidden = {
        path.stat().st_size: path
        for path in private_files(prepared)
        if path.name != SAMPLE and path.stat().st_size
    }
    count = 0
    for path in sorted(prepared.public.rglob("*")):
        if not path.is_file():
            continue
        count += 1
        other = hidden.get(path.stat().st_size)
        if other is not None and sha256_of(path) == sha256_of(other):
            name = path.relative_to(prepared.public)
            return failed(
                check,
                f"the public file {name} is the private file {other.name}; remove it, or write"
                " values that do not depend on the answers",
            )
    return ok(check, f"none of {count:,} public files equals a private one")


def private_files(prepared: Prepared) -> Iterator[Path]:
    """Yield the files of the answers that are not public on purpose.

    MLAgentBench's graders read the agent's own files as well, in a folder `env`.
    """
    for path in sorted(prepared.answers.rglob("*")):
        if path.is_file() and path.relative_to(prepared.answers).parts[0] != "env":
            yield path


def guess_tables(task: Task, prepared: Prepared) -> TaskUnderTest | None:
    """Load the tables of a task with guessed columns; None if no answers fit the sample."""
    sample = prepared.public / SAMPLE
    if not sample.is_file() or sample.stat().st_size > MAX_TABLE_BYTES:
        return None
    columns = list(map(str, read_table(sample)))
    for path in private_files(prepared):
        if path.suffix != ".csv" or path.name == SAMPLE or path.stat().st_size > MAX_TABLE_BYTES:
            continue
        found = list(read_table(path))
        ids, targets = columns[:1], [name for name in columns[1:] if name in found]
        if ids[0] in found and targets:
            schema = SubmissionSchema(
                id_columns=tuple(ids), target_columns=tuple(targets), wants="anything"
            )
            guessed = replace(task, scoring=replace(task.scoring, schema=schema))
            return load_tables(guessed, replace(prepared, answers=path))
    return None


def check_sample(subject: TaskUnderTest) -> Finding:
    """Check that the sample submission does not hold the answers."""
    check = "sample submission"
    both = subject.sample.merge(subject.answers, on=subject.ids, suffixes=("", " (answer)"))
    for target in subject.targets:
        equal = float((both[target] == both[f"{target} (answer)"]).mean()) if len(both) else 0.0
        if equal == 1 and both[target].nunique() > 1:
            return failed(
                check,
                f"the column {target!r} of {SAMPLE} holds the answers; write values that do not"
                " depend on them",
            )
    return ok(check, f"{SAMPLE} does not hold the answers")


def check(task: Task, prepared: Prepared) -> tuple[list[Finding], TaskUnderTest | None]:
    """Check the files, and load the tables for the checks that compare them."""
    findings = [check_files(prepared)]
    subject = guess_tables(task, prepared)
    if subject is None:
        why = f"no private table has the columns of {SAMPLE}, so tables cannot be compared"
        return [*findings, not_applicable("tables", why)], None
    return [*findings, check_sample(subject)], subject
