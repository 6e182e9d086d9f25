
import os
import sys
sys.path.append("../env")
import pandas as pd
from helper import error


def get_score(submission_folder="../env"):
    said = pd.read_csv(os.path.join(submission_folder, "submission.csv"))
    true = pd.read_csv(os.path.join(os.path.dirname(__file__), "answer.csv"))
    return error(said["y"], true["y"])
