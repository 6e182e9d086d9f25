"""NeMo Gym's bridge for OpenEnv plays an episode by the recipe of the guide."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from resources_servers.openenv.app import OpenEnvResourcesServer, OpenEnvResourcesServerConfig

from support.guides import guide_blocks
from support.openai_episodes import SOLVE

pytestmark = pytest.mark.frameworks


@pytest.fixture
def client(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the bridge's server, with the configuration of the guide."""
    code = next(each for each in guide_blocks("frameworks") if "SyncRollout" in each)
    (tmp_path / "my_environment.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = next(each for each in guide_blocks("frameworks", "yaml") if "env_class" in each)
    server = yaml.safe_load(text)["kernel_resources_server"]["resources_servers"]["openenv"]
    options = {"task": tiny, "sandbox": "local", "out": str(tmp_path / "runs")}
    server["reset_kwargs"] |= options
    config = OpenEnvResourcesServerConfig(host="127.0.0.1", port=0, name="", **server)
    bridge = OpenEnvResourcesServer.model_construct(config=config)
    bridge.model_post_init(None)
    with TestClient(bridge.setup_webserver()) as found:
        yield found


def test_an_episode_is_played_and_paid(client: TestClient) -> None:
    def post(path: str, content: Any) -> Any:
        answer = client.post(path, json=content)
        assert answer.status_code == 200, answer.text
        return answer.json()

    post("/seed_session", {})
    wrong = post("/step", {"name": "execute_cod", "arguments": {}})
    seen = post("/step", {"name": "execute_code", "arguments": {"code": SOLVE}})
    paid = post("/verify", verify_request())

    assert "execute_code" in wrong["text"]
    assert not wrong["done"]
    assert seen["text"]
    assert paid["reward"] > 0


def verify_request() -> dict[str, Any]:
    """Return what an agent of the framework sends at the end."""
    response = {"id": "1", "created_at": 0, "model": "scripted", "object": "response"}
    response |= {"output": [], "parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    return {"responses_create_params": {"input": []}, "response": response}
