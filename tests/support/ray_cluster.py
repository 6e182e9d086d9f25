"""Run a Ray cluster on this machine in a process of its own, which obeys lines of its stdin.

| line | what it does | answer |
|---|---|---|
| `add N` | adds a node with N places for episodes | the node's id |
| `kill ID` | kills a node without a chance to clean up | `done` |
| `kill head` | kills the head of the cluster | `done` |
| `remove ID` | removes a node | `done` |
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "300"}
"""No statistics are sent, and a busy machine may take long to start a node."""
SMALL = {"object_store_memory": 100 * 2**20}


class RayCluster:
    """A cluster in another process."""

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self._process, self.address = process, address

    def _ask(self, line: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def add(self, places: int) -> str:
        """Add a node; return its id."""
        return self._ask(f"add {places}")

    def kill(self, node: str) -> None:
        """Kill a node, or the `head`."""
        assert self._ask(f"kill {node}") == "done"

    def remove(self, node: str) -> None:
        """Remove a node."""
        assert self._ask(f"remove {node}") == "done"


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """Start a cluster with a head that plays nothing; RAY_ADDRESS names it in the block."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **SETTINGS},
    )
    before = os.environ.get("RAY_ADDRESS")
    try:
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        os.environ["RAY_ADDRESS"] = address
        yield RayCluster(process, address)
    finally:
        os.environ.pop("RAY_ADDRESS", None)
        os.environ.update({} if before is None else {"RAY_ADDRESS": before})
        process.communicate(timeout=60)


def main() -> None:
    """Start the cluster, and obey."""
    from ray.cluster_utils import Cluster

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray prints, too
    head = {"num_cpus": 0, "include_dashboard": False, **SMALL}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = {"head": cluster.head_node}
    print(cluster.address, file=answers, flush=True)
    for line in sys.stdin:
        word, _, value = line.strip().partition(" ")
        if word == "add":
            resources = {"engine": int(value)} if int(value) else {}
            node = cluster.add_node(num_cpus=4, resources=resources, **SMALL)
            cluster.wait_for_nodes()
            nodes[node.node_id] = node
            print(node.node_id, file=answers, flush=True)
        else:
            known = nodes.pop(value, None)
            if known is not None:
                cluster.remove_node(known, allow_graceful=word == "remove")
            print("done" if known else "unknown", file=answers, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
