"""Chain a digest over everything in a trajectory, so that a changed or missing part is found.

Each entry (the header, each note and step, the ending) has a digest over the digest before it and
its own content. The journal stores it in the entry's line, the notebook with the entry's cell.

A digest is computed from values, not from the bytes of a file: fields at their defaults are left
out, keys are sorted, and 1.0 is 1. So it outlives JupyterLab saving the file, and fields that later
versions of this package add.

A fork continues the chain of its parent: steps that both share have the same digests, and the
fork's header is the entry after them. `Fork.headers` has the digests of the earlier headers.

Whoever changes an entry can compute all digests anew. What tells then is a signature over the last
digest, an earlier copy of it, or running the code again.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Any

from kernel_env.episode.step import Step
from kernel_env.episode.trajectory import EarlierHeader, Ending, Header, Note, Trajectory

Value = Header | EarlierHeader | Note | Step | Ending


@dataclass(frozen=True)
class Difference:
    """The first entry of a trajectory that is not what its digest says."""

    entry: str
    """The entry's name: `header`, `step 3`, `note 1`, `ending`."""
    reason: str
    """What was found."""


def entries(trajectory: Trajectory) -> Iterator[tuple[str, Value]]:
    """Yield the entries with their names, in the order of the chain."""
    fork, steps = trajectory.header.fork, iter(trajectory.steps)
    began = fork.step if fork else 0
    notes = list(enumerate(trajectory.notes, 1))
    for number in range(len(trajectory.steps) + 1):
        if number:
            yield f"step {number}", next(steps)
        for earlier in fork.headers if fork else ():
            if earlier.after_step == number:
                yield "", earlier
        if began == number:
            yield "header", trajectory.header
        yield from ((f"note {n}", note) for n, note in notes if note.after_step == number)
    if trajectory.ending:
        yield "ending", trajectory.ending


def entry_names(trajectory: Trajectory) -> list[str]:
    """Return the names of the entries that have a digest, in order; no step is read."""
    placeholders = replace(trajectory, steps=range(len(trajectory.steps)))  # type: ignore[arg-type]
    return [name for name, _ in entries(placeholders) if name]


def digests_by_name(trajectory: Trajectory) -> dict[str, str]:
    """Return the stored digests by the names of their entries; empty if there are none."""
    if not trajectory.digests:
        return {}
    return dict(zip(entry_names(trajectory), trajectory.digests, strict=False))


def digests(trajectory: Trajectory) -> tuple[str, ...]:
    """Compute the digests of a trajectory's entries, in hexadecimal."""
    found: list[str] = []
    digest = ""
    for _, value in entries(trajectory):
        digest = link(digest, value)
        if not isinstance(value, EarlierHeader):
            found.append(digest)
    return tuple(found)


def first_difference(trajectory: Trajectory) -> Difference | None:
    """Return the first entry that does not have its stored digest; None if all have.

    Each entry is checked against the stored digest before it, so the one that was changed is named,
    not all that follow. Raises `ValueError` for a trajectory without digests, as version 0.1 made
    them.
    """
    if not trajectory.digests:
        raise ValueError("the trajectory has no digests")
    stored = iter(trajectory.digests)
    digest = ""
    for name, value in entries(trajectory):
        computed = link(digest, value)
        if isinstance(value, EarlierHeader):
            digest = computed
            continue
        digest = next(stored, "")
        if not digest:
            return Difference(name, "it has no digest")
        if computed != digest:
            return Difference(name, "its content does not have the digest that is stored with it")
    if next(stored, None) is not None:
        return Difference("ending", "there are digests of entries that are missing")
    return None


def header_digest(header: Header, shared: str = "") -> str:
    """Return the digest of a header; `shared` is that of the last entry before a fork."""
    digest = shared
    for earlier in header.fork.headers if header.fork else ():
        if header.fork and earlier.after_step == header.fork.step:
            digest = link(digest, earlier)
    return link(digest, header)


def headers_for_fork(parent: Header, step: int) -> tuple[EarlierHeader, ...]:
    """Return what the chain of a fork after a step needs of the headers before its own."""
    fork = parent.fork
    began, seed = (fork.step, fork.seed) if fork else (0, None)
    own = EarlierHeader(after_step=began, digest=content_digest(parent), seed=seed)
    earlier = fork.headers if fork else ()
    return tuple(header for header in (*earlier, own) if header.after_step <= step)


def link(digest: str, value: Value) -> str:
    """Return the digest of an entry that follows the one with the given digest."""
    return sha256(f"{digest} {content_digest(value)}")


def content_digest(value: Value) -> str:
    """Return the digest of an entry's content alone."""
    if isinstance(value, EarlierHeader):
        return value.digest
    return sha256(canonical({type(value).__name__: value}))


def sha256(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: Any) -> str:
    """Return a value as JSON that is the same before and after any store."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"))


def plain(value: Any) -> Any:
    """Return a value without what differs between stores: defaults, and whole floats."""
    if is_dataclass(value):
        return {
            field.name: plain(found)
            for field in fields(value)
            if (found := getattr(value, field.name)) != default_of(field) or field.name == "kind"
        }
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def default_of(field: Any) -> Any:
    """Return a field's default; `MISSING` if it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()
