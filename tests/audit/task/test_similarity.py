import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.audit.task.similarity import coarse, phrases, reduced, rounded, twin_texts, words

TEXT = st.text(alphabet="abc ABC,.!\n", min_size=1, max_size=80)


def test_words_are_the_same_whatever_stands_between_them() -> None:
    assert words("Good -- really GOOD!") == words("good, really good") == ["good", "really", "good"]
    assert words("很好看!") == ["很", "好", "看"]
    assert words(" :) ") == [":)"]


@given(TEXT)
def test_a_text_is_its_own_twin_in_other_letters(text: str) -> None:
    assert twin_texts([text], [text.upper()]) == [(0, 0)]


@given(TEXT, TEXT)
def test_twins_are_twins_both_ways(one: str, other: str) -> None:
    assert bool(twin_texts([one], [other])) == bool(twin_texts([other], [one]))


def test_one_word_of_many_may_differ_and_half_of_them_may_not() -> None:
    mail = (
        "Dear friend, I have a very special offer for you that you should not miss, call now " * 3
    )
    other = "Dear uncle, we never met a very cheap offer like this and I hope to hear from you soon"

    assert twin_texts([other, mail], [mail + "please"]) == [(0, 1)]
    assert twin_texts([other], [mail]) == []
    assert len(phrases("a b c d")) == 2


def test_fractions_are_rounded_where_the_columns_spread_is_and_whole_numbers_are_not() -> None:
    latitude = pd.Series(["42.054352", "42.054361", "42.031", "41.99", ""])
    year = pd.Series(["1999", "2000", "2001", ""])

    assert list(rounded(latitude, 3)) == ["42.0544", "42.0544", "42.031", "41.99", ""]
    assert list(rounded(year, 3)) == ["1999", "2000", "2001", ""]


def test_both_sides_are_rounded_alike() -> None:
    train = pd.DataFrame({"x": ["0.1000001", "900.5"]})
    test = pd.DataFrame({"x": ["0.1", "0.2"]})

    ours, theirs = coarse(train, test, 6)

    assert ours["x"].iloc[0] == theirs["x"].iloc[0]


def test_a_picture_that_was_saved_in_another_size_is_the_same_and_text_is_none() -> None:
    image = pytest.importorskip("PIL.Image")

    def saved(size: int, colour: str) -> bytes:
        picture = image.new("RGB", (64, 64), "white")
        picture.paste(colour, (0, 0, 32, 64))
        file = io.BytesIO()
        picture.resize((size, size)).save(file, "png")
        return file.getvalue()

    assert reduced(saved(64, "red")) == reduced(saved(32, "red"))
    assert reduced(saved(64, "red")) != reduced(saved(64, "blue"))
    assert reduced(b"no picture") is None
