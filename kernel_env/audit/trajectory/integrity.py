"""Find what was changed in the files of an episode after it was recorded.

Compared are: each entry with its digest (`episode.chain`), what a reader of the notebook sees with
the digest over it, the journal with the notebook, the submissions in the run's folder with the
digests in the steps, and `record.json` with the trajectory.

That finds what was changed by hand. Whoever computes all digests anew is found by a signature
(`signature`) or by running the code again (`verify`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from kernel_env.audit.trajectory.recording import Recording
from kernel_env.audit.trajectory.verdict import Tampering
from kernel_env.episode import chain
from kernel_env.episode.notebook import NOTEBOOK, cells_digest
from kernel_env.episode.result import RECORD, result_of
from kernel_env.episode.step import Graded
from kernel_env.episode.submissions import submission_file
from kernel_env.episode.trajectory import Trajectory
from kernel_env.tasks.prepare import sha256_of
from kernel_env.untrusted_text import quote_name

CHUNK = 1 << 20


def find_tampering(recording: Recording) -> Iterator[Tampering]:
    """Yield what was changed, the trajectory's entries first."""
    for trajectory in (recording.in_journal, recording.in_notebook):
        if trajectory is not None and trajectory.digests:
            yield from changed_entry(trajectory)
    if recording.notebook is not None:
        yield from changed_cells(recording.notebook)
    yield from different_files(recording)
    if recording.folder is not None:
        yield from changed_submissions(recording.trajectory, recording.folder)
    if recording.record is not None:
        yield from changed_record(recording)


def changed_entry(trajectory: Trajectory) -> Iterator[Tampering]:
    """Find the first entry that does not have its digest."""
    if (found := chain.first_difference(trajectory)) is not None:
        yield Tampering(where=found.entry, what=found.reason)


def changed_cells(notebook: NotebookNode) -> Iterator[Tampering]:
    """Compare what a reader of a notebook sees with the digest over it."""
    digests = notebook.metadata["kernel_env"].get("digests")
    if not digests:
        return
    if digests.get("cells") != cells_digest(notebook.cells):
        yield Tampering(
            where="what the notebook shows",
            what="the text, code or outputs of its cells do not have the digest over them",
        )


def different_files(recording: Recording) -> Iterator[Tampering]:
    """Compare the journal with the notebook. A notebook can lack the end of an episode."""
    journal, notebook = recording.in_journal, recording.in_notebook
    if journal is None or notebook is None:
        return
    entries = zip(
        chain.entry_names(journal), chain.digests(journal), chain.digests(notebook), strict=False
    )
    for name, one, other in entries:
        if one != other:
            yield Tampering(where=name, what=f"{NOTEBOOK} and the journal do not tell the same")
            return
    if len(notebook.steps) > len(journal.steps):
        step = len(journal.steps) + 1
        yield Tampering(where=f"step {step}", what=f"{NOTEBOOK} has it, and the journal does not")
    elif journal.ending and notebook.ending and len(notebook.steps) < len(journal.steps):
        step = len(notebook.steps) + 1
        yield Tampering(where=f"step {step}", what=f"the journal has it, and {NOTEBOOK} does not")


def changed_submissions(trajectory: Trajectory, folder: Path) -> Iterator[Tampering]:
    """Compare the submissions in a run's folder with the digests in its steps."""
    for step in trajectory.steps:
        if not isinstance(step.submission, Graded):
            continue
        path = submission_file(folder, step.number)
        name = f"{path.parent.name}/{path.name}"
        try:
            found = sha256_of(path)
        except OSError as error:
            yield Tampering(
                where=f"step {step.number}", what=f"{name} cannot be read: {error.strerror}"
            )
            continue
        if found != step.submission.sha256:
            yield Tampering(
                where=f"step {step.number}", what=f"{name} is not the submission that was graded"
            )


def changed_record(recording: Recording) -> Iterator[Tampering]:
    """Compare `record.json` with the result that the trajectory gives.

    On a full disk the journal can lack the ending that the notebook has.
    """
    record = recording.record or {}
    told = (recording.in_journal, recording.in_notebook)
    ended = next((each for each in told if each and each.ending), None)
    if ended is None:
        yield Tampering(where=RECORD, what="the episode has no ending, and this file has a result")
        return
    expected: dict[str, Any] = result_of(ended, Path(str(record.get("notebook")))).json()
    expected["flags"] = record.get("flags")  # an audit can be made anew
    for name, value in record.items():
        if name not in expected or expected[name] != value:
            yield Tampering(where=RECORD, what=f"its {quote_name(name)} is not the trajectory's")
