"""The container of an episode contains no answers and no secrets."""

import pytest

from support.episodes import OpenTiny, execute_text


@pytest.mark.docker
async def test_the_container_contains_no_answers(open_tiny: OpenTiny) -> None:
    async with open_tiny(sandbox="docker") as episode:
        names = "answers* leaderboard* grade.py prepare.py solution.ipynb private"
        pattern = " -o ".join(f"-name '{name}'" for name in names.split())
        found = await execute_text(
            episode,
            f"!find /data /workspace /opt/kernel_env /run /tmp /home /root /mnt {pattern} 2>/dev/null\n"
            "!grep -rlE ',(Public|Private)' /data /opt/kernel_env /run 2>/dev/null\n"
            "!env | grep -iE 'answer|token|key|secret|kernel_env_'\n"
            "!cat /proc/self/mountinfo | grep -cE 'answers|private'\n",
        )

    assert found.split() == ["0"]
