"""Run the grading process: fork a process for each request, and answer on its own connection.

The host sends the end of a socket pair for each request (`kernel_env.grading.host` describes the
messages), so requests do not wait for each other. The process of a request forks twice more:

1. a parser, which turns the submission's bytes into columns (`submission.parse`). It has been
   forked before anything reads the answers, and it can open no file.
2. a scorer, which reads the answers, and the columns as the parser wrote them (`table_codec`).

What fails in the parser is the submission's fault. What fails in the scorer may be the task's;
the host decides that by grading a submission that is known to be good.
"""

import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from kernel_env import temporary
from kernel_env.errors import SubmissionError
from kernel_env.grading import child, scoring, submission, table_codec
from kernel_env.grading.child import CallerGone, Limits
from kernel_env.grading.messages import LENGTH, packed
from kernel_env.grading.submission import SubmissionSchema

MESSAGE_BYTES = 64 * 1024
"""The longest message of the control socket."""
GIB = 1024**3
PARSING_SECONDS = 25
"""The time limit for parsing one submission."""
SCORING_BYTES = 8 * GIB
"""The address space for scoring one submission."""
WORK_DIR_BYTES = 64 * 1024**2
"""The largest file, beyond the submission's size, that a free-form `grade.py` can write."""
RESULT_BYTES = 1024**2
"""The largest response of a scorer."""
TABLE, REASON = b"T", b"R"
"""What a parser's result begins with: columns, or the reason for a rejection."""


def serve(control: socket.socket) -> None:
    """Handle requests until the host closes its end of the control socket."""
    warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the processes of requests leave no zombies
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 1)
        if not data:
            return
        for name in json.loads(data):
            with suppress(ImportError):  # the metric raises it again, with the reason
                importlib.import_module(name)
        if not descriptors:
            continue
        if os.fork() == 0:
            code = 1
            try:
                control.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                handle(socket.socket(fileno=descriptors[0]))
                code = 0
            finally:
                os._exit(code)
        os.close(descriptors[0])


def warm_up() -> None:
    """Import what parsing needs, once for all children."""
    for wants in ("number", "label", "anything"):
        schema = SubmissionSchema(id_columns=("id",), target_columns=("y",), wants=wants)
        table_codec.pack(submission.parse(b"id,y\n1,1\n2,2.5\n", schema))
        for bad in (b"id,y\n1\n1,2,3", b"id,y\n\xff,1", b'id,y\n1,"'):  # reading these imports, too
            with suppress(SubmissionError):
                submission.parse(bad, schema)


def handle(connection: socket.socket) -> None:
    """Read a request, grade, and write the response."""
    with connection, connection.makefile("rb") as stream, suppress(CallerGone, BrokenPipeError):
        request = json.loads(stream.read(*LENGTH.unpack(stream.read(LENGTH.size))))
        files = [stream.read(size) for size in request["bytes"]]
        connection.sendall(packed(grade(request, files, connection)))


def grade(
    request: Mapping[str, Any], files: Sequence[bytes], connection: socket.socket
) -> dict[str, Any]:
    """Return the response to a request."""
    form = request["form"]
    schema = SubmissionSchema(**{**form, "id_columns": tuple(form["id_columns"])})
    limits = Limits(
        seconds=request["seconds"], memory_bytes=SCORING_BYTES, result_bytes=RESULT_BYTES
    )
    if schema.is_free_form:
        return grade_file(request, files[0], limits, connection)
    tables: list[bytes] = []
    for data in files:
        result = child.run(partial(parse, data, schema), parsing_limits(data), connection)
        if result.failure:
            return {"kind": "refused", "why": PARSING_FAILURES[result.failure]}
        if not result.data.startswith(TABLE):
            why = result.data[len(REASON) :].decode(errors="replace")
            return {"kind": "refused", "why": scoring.clipped(why)}
        tables.append(result.data[len(TABLE) :])
    given, rival = [*tables, None, None][:2]
    score = partial(scoring.score_table, request, schema, given, rival)
    return scored(lambda: json_bytes(scoring.respond(score)), limits, connection)


def parse(data: bytes, schema: SubmissionSchema) -> bytes:
    """Parse a submission; return its columns or the reason for a rejection."""
    try:
        return TABLE + table_codec.pack(submission.parse(data, schema))
    except SubmissionError as error:
        return REASON + scoring.clipped(error).encode(errors="replace")


def parsing_limits(data: bytes) -> Limits:
    """Return the limits for parsing: a wide table of short cells takes about 40 bytes per byte."""
    return Limits(
        seconds=PARSING_SECONDS,
        memory_bytes=GIB + 40 * len(data),
        result_bytes=1024**2 + 16 * len(data),
        opens_files=False,
    )


PARSING_FAILURES = {
    "time": f"the submission cannot be parsed within {PARSING_SECONDS} s; write a plain CSV table"
    " with the rows and columns of sample_submission.csv",
    "memory": "the submission cannot be parsed within the memory limit; write a plain CSV table"
    " with the rows and columns of sample_submission.csv",
    "crash": "the submission cannot be parsed; write a plain CSV table with the rows and columns"
    " of sample_submission.csv",
}
"""Why a parser gave nothing, for the agent."""


def grade_file(
    request: Mapping[str, Any], data: bytes, limits: Limits, connection: socket.socket
) -> dict[str, Any]:
    """Let the task's `grade.py` read the file, in a work dir of its own."""
    work_dir = temporary.folder()
    try:
        limits = Limits(
            seconds=limits.seconds,
            memory_bytes=limits.memory_bytes,
            result_bytes=limits.result_bytes,
            file_bytes=len(data) + WORK_DIR_BYTES,
        )
        score = partial(scoring.score_file, request, data, work_dir)
        return scored(lambda: json_bytes(scoring.respond(score)), limits, connection)
    finally:
        temporary.remove(work_dir)


def scored(score: Any, limits: Limits, connection: socket.socket) -> dict[str, Any]:
    """Run a scorer; return its response, or how it failed."""
    result = child.run(score, limits, connection)
    response: dict[str, Any] = (
        {**SCORING_FAILURES[result.failure]} if result.failure else json.loads(result.data)
    )
    return {**response, "seconds": result.seconds}


SCORING_FAILURES = {
    failure: {"kind": "failed", "failure": failure, "public": public, "why": why}
    for failure, public, why in (
        ("time", "grading it takes too long", "grading took longer than its time limit"),
        ("memory", "grading it exceeds the memory limit", "grading exceeded the memory limit"),
        (
            "crash",
            "the metric failed on these predictions",
            "the grading process exited without a result (memory limit?)",
        ),
    )
}
"""How a scorer failed: for the agent, and for the task's author."""


def json_bytes(response: Mapping[str, Any]) -> bytes:
    """Encode a response."""
    return json.dumps(response).encode()


if __name__ == "__main__":
    serve(socket.socket(fileno=sys.stdin.fileno()))
