"""A long text of a turn is cut in its middle, never in what a policy must not miss."""

from hypothesis import given
from hypothesis import strategies as st

from kernel_env.rollouts.turn import MIN_CHARACTERS, with_rest

texts = st.text() | st.sampled_from(["`" * 5000, "\x1b[31m" * 900, "\ud800" * 700, "a\n" * 4000])


@given(
    lines=st.lists(st.text(min_size=1), min_size=1, max_size=7),
    text=texts,
    limit=st.integers(MIN_CHARACTERS, 20_000),
)
def test_lines_and_rest_stay_within_the_limit(lines: list[str], text: str, limit: int) -> None:
    short = with_rest(lines, text, limit)

    assert len(short) <= limit
    assert short.count("\n") >= len(lines)
