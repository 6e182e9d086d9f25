
from mlebench.utils import get_logger

logger = get_logger(__name__)


def aligned(submission, answers):
    submission, answers = submission.sort_values("id"), answers.sort_values("id")
    assert submission["id"].tolist() == answers["id"].tolist(), "other ids"
    return answers["y"].to_numpy(), submission["y"].to_numpy()
