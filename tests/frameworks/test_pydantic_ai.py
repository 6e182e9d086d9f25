"""An agent of Pydantic AI starts the MCP server itself, and plays an episode with its tools."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset, StdioTransport
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from support.openai_episodes import SOLVE

pytestmark = pytest.mark.frameworks


def replies(messages: list[Any]) -> list[str]:
    """Return what the tools have answered until now."""
    parts = [part for message in messages for part in message.parts]
    return [str(part.content) for part in parts if isinstance(part, ToolReturnPart)]


def model(messages: list[Any], info: AgentInfo) -> ModelResponse:
    """Answer as a model does that knows the tools by their schemas."""
    assert {"open_episode", "execute_code"} <= {tool.name for tool in info.function_tools}
    answers = replies(messages)
    if not answers:
        return ModelResponse(parts=[ToolCallPart("open_episode", {"task": "tiny"})])
    handle = answers[0].split("episode: ", 1)[1].split()[0]
    if len(answers) == 1:
        call = ToolCallPart("execute_code", {"episode": handle, "code": SOLVE})
        return ModelResponse(parts=[call])
    if len(answers) == 2:
        return ModelResponse(parts=[ToolCallPart("close_episode", {"episode": handle})])
    return ModelResponse(parts=[TextPart(answers[1])])


async def test_an_agent_plays_an_episode(tiny: str, tmp_path: Path) -> None:
    words = ("serve", "mcp", "--stdio", "--tasks", tiny, "--sandbox", "local", "--out", tmp_path)
    transport = StdioTransport(
        command=sys.executable,
        args=["-W", "ignore", "-m", "kernel_env.cli", *map(str, words)],
        env=dict(os.environ),
    )

    async with Agent(
        FunctionModel(model), toolsets=[MCPToolset(transport, init_timeout=60)]
    ) as agent:
        done = await agent.run("Solve the task tiny.")

    assert "public score 0.08" in done.output
    assert len(list(tmp_path.rglob("record.json"))) == 1
