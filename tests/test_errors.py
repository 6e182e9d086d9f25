from kernel_env.errors import UnknownName


def test_an_unknown_name_lists_the_known_names() -> None:
    error = UnknownName("sandbox", "nope", ["local", "docker"])

    assert str(error) == "no sandbox named 'nope'; known: docker, local"


def test_an_unknown_name_suggests_the_most_similar_name() -> None:
    error = UnknownName("sandbox", "dcoker", ["local", "docker"])

    assert str(error) == ("no sandbox named 'dcoker'; did you mean 'docker'? known: docker, local")


def test_an_unknown_name_without_known_names_says_none() -> None:
    assert str(UnknownName("agent", "nope", [])) == "no agent named 'nope'; known: none"
