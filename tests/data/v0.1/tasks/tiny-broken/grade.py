"""A metric that fails, as an author's mistake would."""


def grade(*_):
    raise ValueError("this metric is broken")
