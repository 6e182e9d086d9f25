"""Register the tasks of the catalogue with Gymnasium, when `kernel_env.gym` is imported.

    gymnasium.make("kernel_env.gym:kernel_env/adult-income-v0", budget={"steps": 20})
    gymnasium.make_vec("kernel_env.gym:kernel_env/adult-income-v0", num_envs=8)

The part before the colon is the module that Gymnasium imports; without it, import it yourself.
"""

import gymnasium
from gymnasium.envs.registration import ENV_ID_RE

from kernel_env.tasks import catalog

ENTRY_POINT = "kernel_env.gym:KernelEnv"
VECTOR_ENTRY_POINT = "kernel_env.gym:vector"


def env_id(task: str) -> str:
    """Return the ID of a task in Gymnasium's registry."""
    return f"kernel_env/{task}-v0"


def register() -> None:
    """Register an ID for each task. A task is loaded when an environment is made."""
    for task in catalog.task_folders():
        name = env_id(task)
        if name not in gymnasium.registry and ENV_ID_RE.fullmatch(name):
            gymnasium.register(
                name,
                ENTRY_POINT,
                nondeterministic=True,
                kwargs={"task": task},
                vector_entry_point=VECTOR_ENTRY_POINT,
            )
