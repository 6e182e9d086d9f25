"""Model what a kernel and its folders contain, and change the model as lines of code would."""

import json
import random
import zlib
from dataclasses import dataclass, field
from typing import Any

from kernel_env.episode.episode import Episode
from kernel_env.kernel.cell import Cell

SUBMISSION = "submission.csv"


@dataclass
class State:
    """What a kernel and its folders should contain."""

    random_state: tuple[Any, ...]
    """The state of the module `random`."""
    variables: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    buffered: bytes | None = None
    """Written to the open file `h` and not flushed; None if it is not open."""
    mapped: bool = False
    """Whether the file `m` is mapped as the array `m`."""

    def summary(self) -> dict[str, Any]:
        """Return the same summary as `SUMMARIZE` prints."""
        variables = {name: repr(value) for name, value in self.variables.items()}
        if self.buffered is not None:
            variables["h"] = f"at {len(self.files['h']) + len(self.buffered)}"
        if self.mapped:
            variables["m"] = digest(self.files["m"])
        files = {path: digest(content) for path, content in self.files.items()}
        return {
            "variables": variables,
            "files": files | dict.fromkeys(self.folders, "folder"),
            "random_state": zlib.crc32(repr(self.random_state).encode()),
        }


def digest(content: bytes) -> str:
    """Return length and checksum of a content."""
    return f"{len(content)} bytes {zlib.crc32(content)}"


SUMMARIZE = """
def _summarize():
    import io, json, os, random, types, zlib
    digest = lambda content: f"{len(content)} bytes {zlib.crc32(content)}"
    variables, files = {}, {}
    for name, value in globals().items():
        if name == "h":
            variables[name] = f"at {value.tell()}"
        elif name == "m":
            variables[name] = digest(value.tobytes())
        elif name[0] == "v" and name[1:].isdigit():
            variables[name] = repr(value)
    for root, prefix in ((".", ""), (os.environ.get("TMPDIR", "/tmp"), "tmp/")):
        for parent, folders, names in os.walk(root):
            for name in folders + names:
                path = os.path.join(parent, name)
                content = None if os.path.isdir(path) else open(path, "rb").read()
                found = "folder" if content is None else digest(content)
                if not prefix or name[0] == "t":
                    files[prefix + os.path.relpath(path, root)] = found
    random_state = zlib.crc32(repr(random.getstate()).encode())
    summary = {"variables": variables, "files": files, "random_state": random_state}
    print("SUMMARY", json.dumps(summary))
_summarize(); del _summarize
"""


def summary_of(cell: Cell) -> dict[str, Any]:
    """Return what a cell with `SUMMARIZE` printed."""
    text = "".join(o.get("text", "") for o in cell.outputs if o.get("name") == "stdout")
    lines = [line for line in text.splitlines() if line.startswith("SUMMARY ")]
    assert lines, cell
    summary: dict[str, Any] = json.loads(lines[0].removeprefix("SUMMARY "))
    return summary


class TinyTask:
    """The content of submissions of the tiny task, and their scores."""

    def __init__(self, episode: Episode) -> None:
        table = (episode.setup.prepared.public / "test.csv").read_text()
        self.rows = [row.split(",") for row in table.split()[1:]]
        self.scores: dict[bytes, float] = {}

    def submission(self, slope: int) -> bytes:
        """Return the submission that predicts y = slope * x."""
        rows = "".join(f"{name},{slope * float(x)}\n" for name, x in self.rows)
        return f"id,y\n{rows}".encode()

    def code(self, slope: int) -> str:
        """Return an expression whose value is that submission."""
        return (
            "('id,y\\n' + ''.join('%s,%s\\n' % (_l.split(',')[0], "
            f"{slope} * float(_l.split(',')[1])) for _l in"
            " open(os.environ['DATA_PATH'] + '/test.csv').read().split()[1:])).encode()"
        )


# ── edits ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Edit:
    """A line of a cell."""

    kind: str
    n: int
    """Number of the variable, file or folder: 0 to 3."""
    value: int
    """From 0 to 99."""


EDITS = (
    *("set", "list", "grow", "alias", "delete", "draw", "write", "append", "overwrite", "large"),
    *("cut", "remove", "rename", "folder", "prune", "temporary", "open", "put", "buffer", "close"),
    *("map", "poke", "poke", "poke", "unmap", "submit", "submit", "spoil", "withdraw"),
)


def apply_edit(state: State, edit: Edit, task: TinyTask) -> str:
    """Change the model as the returned line of code changes the kernel and its folders.

    An edit that is not possible now, such as deleting a missing file, does nothing.
    """
    return (
        edit_variables(state, edit)
        or edit_files(state, edit)
        or edit_folders(state, edit)
        or edit_open_file(state, edit)
        or edit_mapped_file(state, edit)
        or edit_submission(state, edit, task)
        or "pass"
    )


def edit_variables(state: State, edit: Edit) -> str | None:
    """Apply an edit of a variable."""
    variables, name, value = state.variables, f"v{edit.n}", edit.value
    match edit.kind:
        case "set":
            variables[name] = value
            return f"{name} = {value}"
        case "list":
            variables[name] = [value]
            return f"{name} = [{value}]"
        case "grow" if isinstance(variables.get(name), list):
            variables[name].append(value)
            return f"{name}.append({value})"
        case "alias" if f"v{value % 4}" in variables:
            variables[name] = variables[f"v{value % 4}"]
            return f"{name} = v{value % 4}"
        case "delete" if name in variables:
            del variables[name]
            return f"del {name}"
        case "draw":
            generator = random.Random()
            generator.setstate(state.random_state)
            variables[name] = generator.random()
            state.random_state = generator.getstate()
            return f"{name} = random.random()"
    return None


def content_of(edit: Edit) -> bytes:
    """Return what an edit writes to a file."""
    return f"{edit.kind} {edit.value}\n".encode()


def edit_files(state: State, edit: Edit) -> str | None:
    """Apply an edit of a file in the workspace."""
    files, path, value, content = state.files, f"f{edit.n}", edit.value, content_of(edit)
    match edit.kind:
        case "write":
            files[path] = content
            return f"with open({path!r}, 'wb') as _f: _ = _f.write({content!r})"
        case "append":
            files[path] = files.get(path, b"") + content
            return f"with open({path!r}, 'ab') as _f: _ = _f.write({content!r})"
        case "overwrite" if path in files:
            files[path] = content[:4] + files[path][4:]
            return f"with open({path!r}, 'r+b') as _f: _ = _f.write({content[:4]!r})"
        case "large":
            files[path] = bytes([value]) * 200_000
            return f"with open({path!r}, 'wb') as _f: _ = _f.write(bytes([{value}]) * 200_000)"
        case "cut" if path in files:
            files[path] = files[path][:value].ljust(value, b"\0")
            return f"os.truncate({path!r}, {value})"
        case "remove" if path in files:
            del files[path]
            return f"os.remove({path!r})"
        case "rename" if path in files:
            files[f"f{value % 4}"] = files.pop(path)
            return f"os.replace({path!r}, 'f{value % 4}')"
    return None


def edit_folders(state: State, edit: Edit) -> str | None:
    """Apply an edit of a folder or of a temporary file."""
    files, n, content = state.files, edit.n, content_of(edit)
    match edit.kind:
        case "folder":
            state.folders |= {f"d{n}", f"d{n}/e"}
            files[f"d{n}/e/x"] = content
            return (
                f"os.makedirs('d{n}/e', exist_ok=True)\n"
                f"with open('d{n}/e/x', 'wb') as _f: _ = _f.write({content!r})"
            )
        case "prune" if f"d{n}" in state.folders:
            state.folders -= {f"d{n}", f"d{n}/e"}
            del files[f"d{n}/e/x"]
            return f"shutil.rmtree('d{n}')"
        case "temporary":
            files[f"tmp/t{n}"] = content
            return (
                f"with open(os.path.join(os.environ.get('TMPDIR', '/tmp'), 't{n}'), 'wb') as _f:"
                f" _ = _f.write({content!r})"
            )
    return None


def edit_open_file(state: State, edit: Edit) -> str | None:
    """Apply an edit of the file `h`, which stays open from cell to cell."""
    files, content = state.files, content_of(edit)
    match edit.kind:
        case "open" if state.buffered is None:
            files["h"], state.buffered = b"", b""
            return "h = open('h', 'wb')"
        case "put" if state.buffered is not None:
            files["h"], state.buffered = files["h"] + state.buffered + content, b""
            return f"_ = h.write({content!r}), h.flush()"
        case "buffer" if state.buffered is not None:
            state.buffered += content
            return f"_ = h.write({content!r})"
        case "close" if state.buffered is not None:
            files["h"], state.buffered = files["h"] + state.buffered, None
            return "h.close(); del h"
    return None


def edit_mapped_file(state: State, edit: Edit) -> str | None:
    """Apply an edit of the file `m`, which is mapped into memory."""
    files, start, value = state.files, edit.n * 2_500, edit.value
    match edit.kind:
        case "map" if not state.mapped:
            files["m"], state.mapped = bytes(10_000), True
            return (
                "import numpy as _np; m = _np.memmap('m', dtype='u1', mode='w+', shape=(10_000,))"
            )
        case "poke" if state.mapped:
            content = bytearray(files["m"])
            content[start : start + 5] = bytes([value]) * 5
            files["m"] = bytes(content)
            return f"m[{start} : {start + 5}] = {value}"
        case "unmap" if state.mapped:
            state.mapped = False
            return "del m"
    return None


def edit_submission(state: State, edit: Edit, task: TinyTask) -> str | None:
    """Apply an edit of the submission."""
    match edit.kind:
        case "submit":
            state.files[SUBMISSION] = task.submission(edit.n)
            return f"with open({SUBMISSION!r}, 'wb') as _f: _ = _f.write({task.code(edit.n)})"
        case "spoil":
            state.files[SUBMISSION] = b"nonsense\n"
            return f"with open({SUBMISSION!r}, 'wb') as _f: _ = _f.write(b'nonsense\\n')"
        case "withdraw" if SUBMISSION in state.files:
            del state.files[SUBMISSION]
            return f"os.remove({SUBMISSION!r})"
    return None
