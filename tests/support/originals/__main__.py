"""Make tables for each task of a benchmark, and grade them with the benchmark's own code.

    python -m support.originals BENCHMARK CHECKOUT DATA SUBMISSIONS TASK…

Writes the answers where the benchmark expects them, the submissions into a folder for each task,
and prints a line of JSON for each task: what was found, and what the benchmark says of each
submission.
"""

import contextlib
import json
import math
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from support.originals import special
from support.originals.benchmarks import BENCHMARKS, Original
from support.originals.columns import read_source
from support.originals.search import Search, Tables, submissions

GRADE_S, SEARCH_S = 60, 150


def in_a_process(work: Any, seconds: int, output: str = os.devnull) -> dict[str, Any]:
    """Run a function in a forked process and return its result, or why there is none.

    What it prints goes to the file `output`.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(seconds)
            with open(output, "w") as printed:  # noqa: PTH123
                os.dup2(printed.fileno(), 1)
                os.dup2(printed.fileno(), 2)
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - becomes the result
                result = {"refused": f"{type(error).__name__}: {error}"[:300]}
            with open(writing, "w") as file:  # noqa: PTH123
                json.dump(result, file)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:  # noqa: PTH123
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"refused": f"no result within {seconds} s"}


def make_tables(original: Original, benchmark: str, id_: str) -> dict[str, Any]:
    """Find tables for a task; return the texts."""
    quick = original.quick(id_)
    search = Search(
        score=quick,
        source=read_source(original.sources(id_)),
        description=original.description(id_),
    )
    made = special.TABLES.get(f"{benchmark}/{id_}")
    found: Tables | None = None
    if f"{benchmark}/{id_}" in special.WITHOUT:
        return {"errors": [special.WITHOUT[f"{benchmark}/{id_}"]], "trials": 0}
    if made:
        answers, truth, guess = made()
        perfect, random = (search.called(answers, text)[0] for text in (truth, guess))
        texts = submissions(truth, guess)
        found = Tables(answers=answers, submissions=texts, how="by hand", scores=(perfect, random))
        found = found if found.quality else None
    else:
        found = search.run()
    if found is None:
        return {"errors": list(dict.fromkeys(search.errors))[-6:], "trials": search.trials}
    found_texts = {"answers": found.answers, "submissions": found.submissions}
    return {**found_texts, "how": found.how, "quality": found.quality, "trials": search.trials}


def graded(original: Original, id_: str, path: Path) -> dict[str, Any]:
    """Return the benchmark's score of a file."""
    score = original.grade(id_, path)
    return {"score": score} if math.isfinite(score) else {"refused": f"the score is {score}"}


def main() -> None:
    benchmark, checkout, data, into = sys.argv[1], *map(Path, sys.argv[2:5])
    work = Path(tempfile.mkdtemp())
    os.chdir(work)  # some of the code writes into its working directory
    original = BENCHMARKS[benchmark](checkout, data)
    for id_ in sys.argv[5:]:
        found = in_a_process(lambda id_=id_: make_tables(original, benchmark, id_), SEARCH_S)
        row: dict[str, Any] = {"id": id_, "found": "answers" in found}
        if "answers" in found:
            texts = found.pop("submissions")
            for folder in original.folders(id_):
                folder.mkdir(parents=True, exist_ok=True)
            answers = found.pop("answers")
            for path, text in (
                *([(original.answers(id_), answers)] if answers else []),
                (original.sample(id_), texts["random"]),
                *((into / id_ / f"{name}.csv", text) for name, text in texts.items()),
            ):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            row["outcomes"] = {
                name: in_a_process(
                    lambda id_=id_, name=name: graded(original, id_, into / id_ / f"{name}.csv"),
                    GRADE_S,
                )
                for name in texts
            }
        print(json.dumps({**row, **found}), flush=True)
    with contextlib.suppress(OSError):
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
