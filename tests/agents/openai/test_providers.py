"""Providers, prices, and options of an agent alone."""

from pathlib import Path

import pytest

from kernel_env.agents import Options
from kernel_env.agents.openai.prices import price_of
from kernel_env.agents.openai.providers import PROVIDERS, endpoint_of
from kernel_env.errors import AgentSetupError, UnknownName, UsageError
from support.chat_server import USAGE, ChatServer, error_reply, text_answer, tool_answer
from support.openai_episodes import Play, cell

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_provider_gives_key_and_price(
    chat: ChatServer, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-deep")
    cached = USAGE | {"prompt_tokens_details": {"cached_tokens": 40}}
    chat.script = [tool_answer(cell("1"), usage=cached), text_answer("DONE", usage=cached)]

    result = await play(provider="deepseek", model="deepseek-chat", budget={"money": 1.0})

    assert chat.headers[0]["authorization"] == "Bearer sk-deep"
    assert result.status == "finished"
    assert result.usage.money == pytest.approx(2 * (60 * 0.14 + 40 * 0.0028 + 10 * 0.28) / 1e6)


async def test_a_model_without_temperature_is_asked_without_it(
    chat: ChatServer, play: Play
) -> None:
    rejected = error_reply(400, "Unsupported value: 'temperature' does not support 0.5")
    chat.script = [rejected, tool_answer(cell("1"))]

    with pytest.warns(UserWarning, match="takes no temperature"):
        result = await play(temperature=0.5)

    assert (result.status, result.steps) == ("finished", 1)
    assert ["temperature" in request for request in chat.requests] == [True, False, False]


@pytest.mark.parametrize("name", PROVIDERS)
async def test_each_provider_has_an_endpoint(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")

    endpoint = endpoint_of(Options(model="m", provider=name))

    assert endpoint.base_url.startswith("https://" if endpoint.needs_key else "http://127.0.0.1:")
    assert endpoint.provider == name


async def test_an_address_comes_before_the_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = endpoint_of(Options())
    monkeypatch.setenv("OPENAI_BASE_URL", "http://lab/v1")
    lab = endpoint_of(Options())
    given = endpoint_of(Options(provider="mistral", base_url="http://proxy/v1"))

    assert (usual.base_url, usual.needs_key) == (PROVIDERS["openai"].base_url, True)
    assert (lab.base_url, lab.provider, lab.needs_key) == ("http://lab/v1", "", False)
    assert (given.base_url, given.key_variable) == ("http://proxy/v1", "MISTRAL_API_KEY")


async def test_mistakes_are_one_line(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="no provider named 'depseek'; did you mean 'deepseek'"):
        await play(provider="depseek")
    with pytest.raises(UnknownName, match="no setting of the agent openai named 'width'"):
        await play(settings={"width": 3})
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(AgentSetupError, match="no key: set XAI_API_KEY"):
        await play(provider="xai", base_url=None)


@pytest.mark.parametrize(
    ("provider", "model", "answer"),
    [
        ("openai", "gpt-4o", 10),
        ("openai", "gpt-4o-2024-11-20", 10),
        ("openai", "gpt-4o-mini-2024-07-18", 0.6),
        ("openai", "gpt-4o-audio", None),
        ("anthropic", "claude-sonnet-4-5-20250929", 15),
        ("openrouter", "openai/gpt-4o-mini", 0.6),
        ("openrouter", "somebody/gpt-4o-mini", None),
        ("", "gpt-4o", None),
        ("vllm", "gpt-4o", None),
    ],
)
async def test_the_table_knows_versions_of_a_model(
    provider: str, model: str, answer: float | None
) -> None:
    price = price_of(Options(model=model), provider)

    assert (price and price.answer) == answer


async def test_an_own_table_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "prices.toml"
    own.write_text('[openai]\n"gpt-4o" = { prompt = 1, answer = 2 }\n')
    monkeypatch.setenv("KERNEL_ENV_PRICES", str(own))

    listed = price_of(Options(model="gpt-4o"), "openai")
    ours = price_of(Options(model="gpt-4o-mini"), "openai")
    given = price_of(Options(model="gpt-4o", price_in=7.0), "openai")

    assert listed is not None
    assert (listed.prompt, listed.cached, listed.answer) == (1, 1, 2)
    assert ours is not None
    assert ours.answer == 0.6
    assert given is not None
    assert (given.prompt, given.answer) == (7, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[openai", "are not TOML"),
        ('[openai]\n"m" = { prompt = -1, answer = 2 }', "m.prompt: "),
        ('[openai]\n"m" = { prompt = 1, anwser = 2 }', "m.a"),
        (None, "cannot be read"),
    ],
)
async def test_a_wrong_table_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, message: str
) -> None:
    own = tmp_path / "prices.toml"
    if content is not None:
        own.write_text(content)
    monkeypatch.setenv("KERNEL_ENV_PRICES", str(own))

    with pytest.raises(UsageError) as caught:
        price_of(Options(model="m"), "openai")

    assert message in str(caught.value)
    assert str(own) in str(caught.value)
