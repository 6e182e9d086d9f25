import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.authoring.similarity import (
    exceeds_chance,
    find_similar_texts,
    phrase_hashes,
    round_column,
    round_tables,
    thumbnail,
    words,
)

TEXT = st.text(alphabet="abc ABC,.!\n", min_size=1, max_size=80)


def test_words_do_not_depend_on_case_and_punctuation() -> None:
    assert words("Good -- really GOOD!") == words("good, really good") == ["good", "really", "good"]
    assert words("很好看!") == ["很", "好", "看"]
    assert words(" :) ") == [":)"]


@given(TEXT)
def test_a_text_is_similar_to_itself_in_upper_case(text: str) -> None:
    assert find_similar_texts([text], [text.upper()]) == [(0, 0)]


@given(TEXT, TEXT)
def test_similarity_is_symmetric(one: str, other: str) -> None:
    assert bool(find_similar_texts([one], [other])) == bool(find_similar_texts([other], [one]))


def test_similar_texts_may_differ_in_one_word_but_not_in_half() -> None:
    mail = (
        "Dear friend, I have a very special offer for you that you should not miss, call now " * 3
    )
    other = "Dear uncle, we never met a very cheap offer like this and I hope to hear from you soon"

    assert find_similar_texts([other, mail], [mail + "please"]) == [(0, 1)]
    assert find_similar_texts([other], [mail]) == []
    assert len(phrase_hashes("a b c d")) == 2


def test_fractions_are_rounded_relative_to_the_spread_and_whole_numbers_are_kept() -> None:
    latitude = pd.Series(["42.054352", "42.054361", "42.031", "41.99", ""])
    year = pd.Series(["1999", "2000", "2001", ""])

    assert list(round_column(latitude, 3)) == ["42.0544", "42.0544", "42.031", "41.99", ""]
    assert list(round_column(year, 3)) == ["1999", "2000", "2001", ""]


def test_both_tables_are_rounded_to_the_same_digit() -> None:
    train = pd.DataFrame({"x": ["0.1000001", "900.5"]})
    test = pd.DataFrame({"x": ["0.1", "0.2"]})

    ours, theirs = round_tables(train, test, 6)

    assert ours["x"].iloc[0] == theirs["x"].iloc[0]


def test_a_thumbnail_does_not_depend_on_the_picture_size() -> None:
    image = pytest.importorskip("PIL.Image")

    def saved(size: int, colour: str) -> bytes:
        picture = image.new("RGB", (64, 64), "white")
        picture.paste(colour, (0, 0, 32, 64))
        file = io.BytesIO()
        picture.resize((size, size)).save(file, "png")
        return file.getvalue()

    assert thumbnail(saved(64, "red")) == thumbnail(saved(32, "red"))
    assert thumbnail(saved(64, "red")) != thumbnail(saved(64, "blue"))
    assert thumbnail(b"no picture") is None


@given(st.integers(1, 50), st.floats(0, 100))
def test_more_coincidences_are_never_less_significant(count: int, expected: float) -> None:
    assert exceeds_chance(count, expected) <= exceeds_chance(count + 1, expected)
    assert exceeds_chance(count, 0)
    assert not exceeds_chance(count, count)
