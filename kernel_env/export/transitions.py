"""Write an episode as transitions, for reinforcement learning: one row per step of the agent.

    {"observation": text, "action": {"kind": …}, "thought": text, "reward": number,
     "next_observation": text, "done": bool, "group": text, "step": number, …}

Steps that forks share are one row, of the first run that has them. Rows of one `group` continue the
same state: the beginning of a task, or the step after which episodes were forked.
"""

from collections.abc import Iterator
from typing import Any

from kernel_env.episode.json_codec import action_json
from kernel_env.export.conversations import facts
from kernel_env.export.runs import Run
from kernel_env.export.turns import Turn, turns


def rows(run: Run, copied: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run without its first `copied` steps.

    The reward of the last step includes what the ending pays (the reward `final`). A reward can pay
    more than once for the same result (`position` does): its name is in each row.
    """
    assert run.ending is not None
    own = facts(run)
    for turn in turns(run):
        if not isinstance(turn, Turn) or turn.step.number <= copied:
            continue
        step = turn.step
        yield {
            **own,
            "group": run.header.group,
            "step": step.number,
            "observation": turn.before,
            "thought": step.thought,
            "action": action_json(step.action),
            "reward": step.reward + (run.ending.reward if turn.is_last else 0.0),
            "reward_name": run.header.reward,
            "next_observation": turn.after,
            "failed": bool(step.cell and step.cell.error),
            "done": turn.is_last,
        }
