"""Let a person solve a task in Jupyter programs, as an agent does: same rules, same record."""

from kernel_env.play.session import Session, open_session

__all__ = ["Session", "open_session"]
