"""Pages that are written after each copy, copied ahead: counted by the system, in real processes."""

import json
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from kernel_env.kernel.guest.prefault import runs

PROGRAM = """
import json, mmap, os, resource, signal, sys
from kernel_env.kernel.guest.prefault import Prefault

PAGES = 1000
memory = mmap.mmap(-1, 4 * PAGES * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
memory.write(b"x" * len(memory))
prefault, copies, faults = Prefault(), [], []

def write(first):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for page in range(first, first + PAGES):
        memory[page * mmap.PAGESIZE] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for step in range(6):
    prefault.learn()
    if not (copy := os.fork()):
        signal.pause()
    copies.append(copy)
    if sys.argv[1] == "ahead":
        prefault.copy_ahead()
    faults.append([write(0), write((1 + step % 3) * PAGES)])
for copy in copies:
    os.kill(copy, signal.SIGKILL)
    os.waitpid(copy, 0)
print(json.dumps(faults))
"""


def faults(how: str) -> list[list[int]]:
    """After each of six copies: faults on 1,000 pages written each time, and on others."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60, check=True
    )
    found: list[list[int]] = json.loads(ran.stdout)
    return found


def test_pages_that_are_written_after_every_copy_cost_no_fault_once_they_are_known() -> None:
    ahead, plain = faults("ahead"), faults("plain")

    assert all(each >= 1000 for each, _ in plain)
    assert all(each >= 1000 for each, _ in ahead[:2]), "not known yet"
    assert all(each < 100 for each, _ in ahead[3:])


def test_pages_that_are_written_now_and_then_are_left_alone() -> None:
    assert all(now_and_then >= 1000 for _, now_and_then in faults("ahead")[1:])


@given(st.sets(st.integers(0, 60)))
def test_runs_cover_the_pages_and_no_others_in_as_few_pieces_as_can_be(pages: set[int]) -> None:
    pieces = list(runs(pages))

    assert {page for first, count in pieces for page in range(first, first + count)} == pages
    assert sum(count for _, count in pieces) == len(pages)
    assert all(first + count not in pages for first, count in pieces)
