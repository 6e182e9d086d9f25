"""Deep learning returns the same in a trial, a fork, after a crash and live.

Each program has a cell that prepares and one that reads. The second one runs in copies of the
kernel first, and may change what it reads: no copy may be noticed by another or by the original.
"""

import re
from dataclasses import dataclass

import pytest

from kernel_env.kernel.cell import Cell
from kernel_env.kernel.recoverable import RecoverableKernel
from support.kernels import cell_text, fork_kernel, run_cell

pytestmark = pytest.mark.torch
CELL_S = 60
"""Ample: a cell that needs it hangs."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """Two cells, and what the second one returns whenever it runs directly after the first."""

    prepare: str
    read: str
    text: str
    live_only: bool = False
    """Whether it rests on other processes, which no copy has: copies may fail, but at once."""


def changes(prepare: str, first: str, change: str) -> Program:
    """Return a program whose second cell reads what is 55 at first, and changes it."""
    return Program(prepare=prepare, read=f"before = {first}\n{change}\nbefore", text="55")


IMPORTS = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
rows = TensorDataset(torch.arange(1.0, 401.0))
"""
LOADER = "[b[0] for b in DataLoader(rows, batch_size=10, num_workers=2{})]"
WORKERS = "int(sum(b[0].sum() for b in {}))"
SCRIPTED = """
import torch
@torch.jit.script
def double(a: torch.Tensor) -> torch.Tensor:
    return a * 2
@torch.jit.script
def both(a: torch.Tensor) -> torch.Tensor:
    waiting = torch.jit.fork(double, a)
    return torch.jit.wait(waiting) + double(a)
"""
TOKENIZER = """
import os
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
tokenizer = Tokenizer(models.BPE(unk_token="?"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
texts = ["the cat sat on the mat"] * 2000
tokenizer.train_from_iterator(texts, trainers.BpeTrainer(show_progress=False))
"""
FRAME = "import polars as pl; d = pl.DataFrame({'g': [1, 2] * 50_000, 'v': [1] * 100_000})\n"
GROUPS = "d.group_by('g').agg(pl.col('v').sum()).sort('g')['v'].to_list()"
QUEUE = "import torch.multiprocessing as mp; q = mp.Queue(); [q.put(n) for n in range(3)]; "

PROGRAMS = {
    "training continues": Program(
        prepare=IMPORTS + "model = nn.Linear(1, 1, bias=False); nn.init.ones_(model.weight)\n"
        "optimizer = torch.optim.Adam(model.parameters(), lr=0.5); x = torch.ones(64, 1)\n"
        "def step():\n    optimizer.zero_grad(); loss = (model(x) ** 2).mean(); loss.backward()\n"
        "    optimizer.step(); return round(loss.item(), 3)\nstep()",
        read="[step() for _ in range(2)]",
        text="[0.25, 0.001]",
    ),
    "matrices on several threads": Program(
        prepare="import torch; a = torch.ones(600, 600); (a @ a).sum()",
        read="int((a @ a).sum()), int(torch.linalg.svdvals(a)[0].round())",
        text="(216000000, 600)",
    ),
    "a loader without workers": Program(
        prepare=IMPORTS + "loader = DataLoader(rows, batch_size=10)",
        read=WORKERS.format("loader"),
        text="80200",
    ),
    "a loader made in the cell": Program(
        prepare=IMPORTS + LOADER.format(""),
        read=WORKERS.format(LOADER.format("").replace("b[0] for", "b for")),
        text="80200",
    ),
    "a loader with spawned workers": Program(
        prepare=IMPORTS + LOADER.format(", multiprocessing_context='spawn'"),
        read="len(" + LOADER.format(", multiprocessing_context='spawn'") + ")",
        text="40",
    ),
    "a loader with a fork server": Program(
        prepare=IMPORTS + LOADER.format(", multiprocessing_context='forkserver'"),
        read="len(" + LOADER.format(", multiprocessing_context='forkserver'") + ")",
        text="40",
    ),
    "a kept loader with persistent workers": Program(
        prepare=IMPORTS
        + "loader = DataLoader(rows, batch_size=10, num_workers=2, persistent_workers=True)\n"
        + WORKERS.format("loader"),
        read=WORKERS.format("loader"),
        text="80200",
    ),
    "a kept loader that is half read": Program(
        prepare=IMPORTS + "i = iter(DataLoader(rows, batch_size=10, num_workers=2)); next(i);",
        read="len(list(i))",
        text="39",
        live_only=True,
    ),
    "batches that came from workers": changes(
        IMPORTS + f"batches = {LOADER.format('')}", "int(batches[0].sum())", "batches[0].zero_()"
    ),
    "a tensor in shared memory": changes(
        "import torch; t = torch.arange(1.0, 11.0).share_memory_()", "int(t.sum())", "t.zero_()"
    ),
    "a shared tensor and a new process": Program(
        prepare="import torch, torch.multiprocessing as mp",
        read="t = torch.zeros(2).share_memory_()\n"
        "p = mp.get_context('fork').Process(target=t.fill_, args=(1,)); p.start(); p.join(); t",
        text="tensor([1., 1.])",
    ),
    "a queue with something in it": Program(
        prepare=QUEUE + "import time; time.sleep(0.5)",
        read="[q.get(timeout=5) for _ in range(3)]",
        text="[0, 1, 2]",
        live_only=True,
    ),
    "a traced function": Program(
        prepare="import torch; f = torch.jit.trace(lambda a: a * 2, torch.ones(2))",
        read="f(torch.ones(2))",
        text="tensor([2., 2.])",
    ),
    "a scripted function on other threads": Program(
        prepare=SCRIPTED + "both(torch.ones(2))",
        read="both(torch.ones(2))",
        text="tensor([4., 4.])",
    ),
    "a mapped checkpoint": changes(
        "import os, torch; torch.save(torch.arange(1.0, 11.0), 'w.pt')\n"
        "t = torch.load('w.pt', mmap=True)",
        "int(t.sum())",
        "t.zero_(); torch.save(t, 'new.pt'); os.replace('new.pt', 'w.pt')",
    ),
    "a tensor in a file": changes(
        "import torch; t = torch.from_file('t.bin', shared=True, size=10)\n"
        "t.copy_(torch.arange(1.0, 11.0));",
        "int(t.sum())",
        "t.zero_()",
    ),
    "an open file of safetensors": Program(
        prepare="import torch; from safetensors import safe_open, torch as st\n"
        "st.save_file({'w': torch.arange(3)}, 'w.safetensors')\n"
        "kept = safe_open('w.safetensors', 'pt')",
        read="kept.get_tensor('w')",
        text="tensor([0, 1, 2])",
    ),
    "tokenizers": Program(
        prepare=TOKENIZER + "tokenizer.encode_batch(texts);",
        read="len(tokenizer.encode_batch(texts))",
        text="2000",
    ),
    "tokenizers that are told to use threads": Program(
        prepare="import os; os.environ['TOKENIZERS_PARALLELISM'] = 'true'"
        + TOKENIZER
        + "tokenizer.encode_batch(texts);",
        read="len(tokenizer.encode_batch(texts))",
        text="2000",
    ),
    "polars, imported": Program(prepare=FRAME, read=GROUPS, text="[50000, 50000]"),
    "polars, used": Program(prepare=FRAME + GROUPS, read=GROUPS, text="[50000, 50000]"),
    "tables of pyarrow": Program(
        prepare="import pyarrow as pa, pyarrow.parquet as pq, pyarrow.compute as pc\n"
        "t = pa.table({'v': list(range(1000))}); pq.write_table(t, 't.parquet'); pc.sum(t['v'])",
        read="pc.sum(pq.read_table('t.parquet')['v']).as_py()",
        text="499500",
    ),
}


def result(cell: Cell) -> str:
    """Return what a cell returned, or what prevented it."""
    if cell.broke or cell.error:
        return cell.broke or f"{cell.error.name}: {cell.error.value}"  # type: ignore[union-attr]
    return cell_text(cell)


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_returns_the_same_in_every_copy(
    name: str, kernel: RecoverableKernel
) -> None:
    program, found = PROGRAMS[name], {}

    async def prepare() -> None:
        cell = await run_cell(kernel, program.prepare, CELL_S)
        assert cell.error is None

    await prepare()
    found["trial"] = result(await kernel.run_trial(program.read, timeout_s=CELL_S))
    found["live after a trial"] = result(await run_cell(kernel, program.read, CELL_S))
    await kernel.reset()
    await prepare()
    child = (await fork_kernel(kernel)).kernel
    try:
        found["fork"] = result(await run_cell(child, program.read, CELL_S))
    finally:
        await child.close()
    await run_cell(kernel, f"{program.read}\nimport os; os._exit(1)", CELL_S)
    found["after a crash"] = result(await run_cell(kernel, program.read, CELL_S))

    if program.live_only:
        assert found.pop("live after a trial") == program.text
        assert not [
            text
            for text in found.values()
            if re.search("interrupt|did not end", text, re.IGNORECASE)
        ]
    else:
        assert found == dict.fromkeys(found, program.text)
