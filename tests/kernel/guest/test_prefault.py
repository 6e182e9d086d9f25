"""Page faults after each fork, with and without copying pages in advance."""

import json
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from kernel_env.kernel.guest.prefault import runs

FORK_PROGRAM = """
import json, mmap, os, resource, signal, sys
from kernel_env.kernel.guest.prefault import Prefault

PAGES = 1000
memory = mmap.mmap(-1, 4 * PAGES * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
memory.write(b"x" * len(memory))
prefault, children, faults = Prefault(), [], []

def write(first):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for page in range(first, first + PAGES):
        memory[page * mmap.PAGESIZE] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for step in range(6):
    prefault.learn()
    if not (child := os.fork()):
        signal.pause()
    children.append(child)
    if sys.argv[1] == "prefault":
        prefault.populate()
    faults.append([write(0), write((1 + step % 3) * PAGES)])
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(json.dumps(faults))
"""


def page_faults(mode: str) -> list[list[int]]:
    """Return, for each of six forks, the faults on 1,000 pages always written and on others."""
    done = subprocess.run(
        [sys.executable, "-c", FORK_PROGRAM, mode],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: list[list[int]] = json.loads(done.stdout)
    return found


def test_pages_written_after_every_fork_cause_no_faults_once_known() -> None:
    prefault, plain = page_faults("prefault"), page_faults("plain")

    assert all(each >= 1000 for each, _ in plain)
    assert all(each >= 1000 for each, _ in prefault[:2]), "not known yet"
    assert all(each < 100 for each, _ in prefault[3:])


def test_pages_written_occasionally_are_left_alone() -> None:
    assert all(occasional >= 1000 for _, occasional in page_faults("prefault")[1:])


@given(st.sets(st.integers(0, 60)))
def test_runs_are_the_fewest_that_cover_exactly_the_pages(pages: set[int]) -> None:
    pieces = list(runs(pages))

    assert {page for first, count in pieces for page in range(first, first + count)} == pages
    assert sum(count for _, count in pieces) == len(pages)
    assert all(first + count not in pages for first, count in pieces)
