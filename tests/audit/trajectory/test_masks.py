"""What is masked, what is not, and that masking loses nothing else."""

from collections import Counter
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.audit.trajectory.masks import (
    NAMES,
    Piece,
    Run,
    differing,
    masked,
    overwritten,
    split,
)

DAY, NEXT = date(2026, 11, 28), date(2026, 11, 29)


@pytest.mark.parametrize(
    ("recorded", "replayed", "masks"),
    [
        ("fit in 3.1 s", "fit in 12 s", {"duration": 1}),
        ("took 1.25, r2 0.8", "took 3.8e-05, r2 0.8", {"duration": 1}),
        ("Wall time: 1.3 s", "Wall time: 900 ms", {"duration": 1}),
        ("1min 2s", "58 s", {"duration": 1}),
        ("real\t0m1.2s", "real\t1m3.4s", {"duration": 1}),
        (
            "1.2 ms ± 4.5 µs per loop (of 7 runs, 1,000 loops each)",
            "980 µs ± 3 µs per loop (of 7 runs, 10,000 loops each)",
            {"duration": 3},
        ),
        (
            "63/63 ━━━ 0s 2ms/step - loss: 1",
            "63/63 ━━━ 1s 3ms/step - loss: 1",
            {"duration": 1, "rate": 1},
        ),
        (
            "100%|████| 10/10 [00:02<00:00, 4.2it/s]",
            "100%|████| 10/10 [00:01<00:00, 9.9it/s]",
            {"progress bar": 1},
        ),
        (
            "  5%|█ | 1/20 [00:04<00:01]100%|████| 20/20 [00:01<00:00]",
            "100%|████| 20/20 [00:01<00:00]",
            {"progress bar": 1},
        ),
        (" 10%|█  | 1/10\r 50%|█ | 5/10\rdone\n", "done\n", {"progress bar": 1}),
        ("<object at 0x7f12aa34bc10>", "<object at 0x7fffaa34bc10>", {"address": 1}),
        ("id 140234567890123", "id 140111111111111", {"address": 1}),
        ("RSS 512.3 MB of 8 GiB", "RSS 498 MB of 8 GiB", {"memory size": 1}),
        ("/tmp/tmpab12/x.csv", "/tmp/tmpzz99/x.csv", {"temporary path": 1}),
        (
            "/tmp/ipykernel_17/12.py:3: Warn",
            "/tmp/ipykernel_99/12.py:3: Warn",
            {"temporary path": 1},
        ),
        ("pid 17", "pid 4711", {"process ID": 1}),
        ("2026-11-28 14:00:01,123 INFO", "2026-11-29 09:59:59,000 INFO", {"date": 1}),
        ("Sat Nov 28 14:42:27 UTC 2026", "Sun Nov 29 01:02:03 UTC 2026", {"date": 1}),
        ("1795877000.25", "1795958000.75", {"date": 1}),
        ("12:00:01 epoch 1", "12:07:59 epoch 1", {"time of day": 1}),
        (
            "a5b1c2d3-0000-4000-8000-0123456789ab",
            "b5b1c2d3-0000-4000-8000-0123456789ab",
            {"identifier": 1},
        ),
        ("\x1b[31mred\x1b[0m", "\x1b[32mred\x1b[0m", {"escape sequence": 1}),
    ],
)
def test_what_differs_between_runs_of_the_same_code_is_masked(
    recorded: str, replayed: str, masks: dict[str, int]
) -> None:
    found = differing(Run(text=recorded, day=DAY), Run(text=replayed, day=NEXT))

    assert found == Counter(masks)
    assert set(masks) <= set(NAMES)


@pytest.mark.parametrize(
    ("recorded", "replayed"),
    [
        ("accuracy 0.91", "accuracy 0.92"),
        ("best day 2012-01-01", "best day 2012-01-02"),
        ("2012-01-01 08:00:00", "2012-01-01 09:00:00"),
        ("5 features", "6 features"),
        ("fit in 3.1 s, score 1", "fit in 3.1 s, score 2"),
        ("3.1 s", "3.1 MB"),
        ("x", "x\n"),
        ("epoch 1", "epoch 1 took 1 s"),
        ("0x12", "0x13"),
        ("100%|██| a", "100%|██| b"),
    ],
)
def test_results_are_not_masked(recorded: str, replayed: str) -> None:
    assert differing(Run(text=recorded, day=DAY), Run(text=replayed, day=DAY)) is None


def test_a_date_is_masked_only_about_the_day_of_its_own_run() -> None:
    recorded = Run(text="2026-01-01", day=date(2026, 1, 1))

    assert differing(recorded, Run(text="2026-11-28", day=DAY)) == {"date": 1}
    assert differing(recorded, Run(text="2026-01-02", day=DAY)) is None
    assert differing(recorded, Run(text="2026-11-28")) is None


WORDS = st.sampled_from(
    [
        *(
            "took ",
            "1.5 s",
            "0x7f12aa34bc",
            "\r",
            "\n",
            " ",
            "2026-11-28",
            "12:00:01",
            "pid 7",
            "%|",
        ),
        *("1", "/tmp/a", "3 MB", "|", "[", "]", "9it [", "\x1b[1m", "a", "é", "1,234", ".", "e-5"),
        *("loops each", "2ms/step", "10%|█| 1/2 [0s]"),
    ]
)
TEXTS = st.lists(WORDS, max_size=12).map("".join) | st.text(max_size=40)


@given(TEXTS, st.none() | st.just(DAY))
def test_the_pieces_are_the_text(text: str, day: date | None) -> None:
    pieces = list(split(text, day))

    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text and piece.mask in ("", *NAMES) for piece in pieces)


@given(TEXTS)
def test_a_text_is_equal_to_itself(text: str) -> None:
    assert differing(Run(text=text, day=DAY), Run(text=text, day=DAY)) == {}


@given(TEXTS, TEXTS)
def test_the_comparison_is_symmetric(one: str, other: str) -> None:
    runs = Run(text=one, day=DAY), Run(text=other, day=DAY)

    assert differing(*runs) == differing(*reversed(runs))


@given(TEXTS, TEXTS)
def test_texts_are_equal_after_masking_if_their_masked_forms_are(one: str, other: str) -> None:
    found = differing(Run(text=one, day=DAY), Run(text=other, day=DAY))

    assert (found is not None) == (masked(one, DAY) == masked(other, DAY))


@given(st.text(st.characters(categories=["L", "Zs", "Po"], exclude_characters="/%"), max_size=40))
def test_words_are_never_masked(text: str) -> None:
    assert list(split(text, DAY)) == ([Piece("", text)] if text else [])


@given(TEXTS)
def test_what_was_overwritten_is_not_shown(text: str) -> None:
    shown = overwritten(text)

    assert "\r" not in shown
    assert overwritten(shown) == shown
    assert shown.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "part",
    ["1%|", "/a", "1", "1,1", "1,111", "took ", "1it [", "a-", "1 s ", "1:11:11", "0x", "\r"],
)
def test_long_texts_take_linear_time(part: str) -> None:
    assert "".join(piece.text for piece in split(part * (200_000 // len(part)), DAY))
