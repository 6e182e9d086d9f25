"""Draw random actions on a tree of episodes."""

from dataclasses import dataclass

from hypothesis import strategies as st

from support.episode_model.state import EDITS, Edit

MAX_EPISODES = 3
"""Maximum number of episodes that run at the same time."""
LOCAL_ACTIONS, DOCKER_ACTIONS = 80, 60
"""Actions of a default run; a container starts slowly and its kernels share a processor."""

FAULTS = {
    "exit": "os._exit(3)",
    "SIGKILL": "os.kill(os.getpid(), 9)",
    "segfault": "import ctypes; ctypes.string_at(0)",
    "closed": "os.closerange(3, 10_000)",
    "all": "os.kill(-1, 9); os._exit(6)",  # a process does not signal itself with -1
}
"""Cells that crash the kernel."""
HANGS = {
    "hang": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    "stopped": "os.kill(os.getpid(), 19)",
}
"""Cells that do not end, so that the kernel is replaced."""

WEIGHTS = {
    "nothing": 1,
    "execute": 70,
    "error": 12,
    "time": 2,
    "validate": 20,
    "validate error": 3,
    "validate exit": 4,
    "exit": 8,
    "SIGKILL": 5,
    "segfault": 3,
    "closed": 3,
    "standby and exit": 5,
    "hang": 1,
    "stopped": 1,
    "kill kernel": 5,
    "kill standby": 6,
    "kill template": 1,
    "all": 1,
    "container": 1,
    "look": 4,
    "reset": 6,
    "fork": 14,
    "fork reseeded": 6,
    "fork earlier": 14,
    "end": 12,
}
"""How often each kind of action is drawn.

`nothing` is first: it makes Hypothesis's simplest example, which it always tries, a short one.
"""
DOCKER_ONLY = {"all", "container"}
"""In the local sandbox there is no container, and `all` would end the test itself."""


@dataclass(frozen=True)
class DrawnAction:
    """An action on one of the running episodes."""

    kind: str
    index: int
    """Chooses the episode."""
    number: int
    """Chooses among the options of the action, such as the step of a fork."""
    edits: tuple[Edit, ...]
    """The lines of its cell."""


ACTIONS = st.builds(
    DrawnAction,
    st.sampled_from([kind for kind, weight in WEIGHTS.items() for _ in range(weight)]),
    st.integers(0, MAX_EPISODES - 1),
    st.integers(0, 39),
    st.lists(
        st.builds(Edit, st.sampled_from(EDITS), st.integers(0, 3), st.integers(0, 99)), max_size=4
    ).map(tuple),
)
