"""The random states of a kernel start from a number that the header records."""

from support.episodes import OpenTiny, execute_text

DRAW = "import random, numpy as np\n(random.random(), np.random.rand())"


async def test_an_episode_with_the_same_number_draws_the_same(
    open_tiny: OpenTiny, sandbox: str
) -> None:
    async with open_tiny(sandbox=sandbox) as first:
        drawn = await execute_text(first, DRAW)
        seed = first.setup.header.random_seed
    async with (
        open_tiny(sandbox=sandbox, random_seed=seed) as again,
        open_tiny(sandbox=sandbox) as other,
    ):
        assert again.setup.header.random_seed == seed != other.setup.header.random_seed
        assert await execute_text(again, DRAW) == drawn
        assert await execute_text(other, DRAW) != drawn
        sets = [await execute_text(each, "{str(n) for n in range(30)}") for each in (again, other)]
        assert sets[0] == sets[1]
