"""Word what the model is asked at each node of the tree.

A request is a conversation: the task, the cells that led to the node with what came of them, and
one of the instructions below with what was tried elsewhere in the tree.
"""

from collections.abc import Sequence
from dataclasses import replace

from kernel_env.agents.openai.answers import NO_ACTION, Answer
from kernel_env.agents.openai.conversation import Turn
from kernel_env.agents.tree.node import Node, Stage, Tree
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.tools import Fault
from kernel_env.untrusted_text import clipped, escape_line, escape_lines

SYSTEM = """\
You are a machine-learning engineer who searches for the best solution of one task. Several lines of
work are tried in forks of one live Jupyter kernel: variables, imports and files of the earlier
cells of this conversation are still there, so use them and do not compute them again. There is no
network access.

Answer with a plan of two to four sentences and then one ```python block. The block runs as the next
cell. You see its output and, if the submission file has changed, its score.
"""
TASKS: dict[Stage, str] = {
    "prepare": "Write the cell that prepares what every solution of this task needs: imports, data,"
    " features that take long to compute, functions for validation and for writing a submission."
    " It runs once, and all solutions continue from its state. Do not train a final model yet.",
    "draft": "Write a simple first solution that differs from the ones tried so far, and write its"
    " submission.",
    "debug": "The last cell failed, or left no submission that can be graded. Repair it, and write"
    " the submission.",
    "improve": "Improve the solution above by one change that can be measured, and write the"
    " submission.",
}
MAX_LISTED = 12
"""How many nodes are listed of what was tried."""
PLAN_CHARACTERS = 300
"""Limit of a plan in that list."""
ONE_CELL = "answer with a short plan and one ```python block, which runs as the next cell"


def instruction(stage: Stage, node: Node, tree: Tree) -> str:
    """Return what the model is asked at a node."""
    lines = [f"[{stage}, attempt {node.attempts + 1}]", TASKS[stage]]
    tried = [each for each in tree.nodes if each.plan and not each.is_buggy]
    if stage in ("draft", "improve") and tried:
        best = tree.by_score(tried)[:MAX_LISTED]
        lines.append("Tried so far, the best first:")
        lines += [
            f"- score {each.score:.6g}: {escape_line(clipped(each.plan, PLAN_CHARACTERS, ' '))}"
            for each in best
        ]
    return "\n".join(lines)


def with_instruction(first: str, path: Sequence[Turn], told: str) -> tuple[str, tuple[Turn, ...]]:
    """Return the first message and the turns of a conversation that ends with an instruction."""
    if not path:
        return f"{first}\n\n{told}", ()
    *earlier, last = path
    replies = (*last.replies[:-1], f"{last.replies[-1]}\n\n{told}")
    return first, (*earlier, replace(last, replies=replies))


def cell_of(answer: Answer) -> ExecuteCode | Fault:
    """Return the cell of an answer: all its blocks of Python, joined."""
    codes = []
    for call in answer.calls:
        if call.action is NO_ACTION:
            break
        if isinstance(call.action, Fault):
            return call.action
        if not isinstance(call.action, ExecuteCode):
            return Fault(reason=f"{call.action.kind} is not possible here; {ONE_CELL}")
        codes.append(call.action.code.strip("\n"))
    if not codes:
        return Fault(reason=f"your answer has no code; {ONE_CELL}")
    return ExecuteCode(code="\n\n".join(codes))


def plan_of(answer: Answer) -> str:
    """Return the plan of an answer."""
    return escape_lines(answer.thought.strip())
