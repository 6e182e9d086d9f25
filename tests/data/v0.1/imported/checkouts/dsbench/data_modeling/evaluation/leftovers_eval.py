
import argparse
import os.path
import pandas as pd

parser = argparse.ArgumentParser()
for name in ("path", "name", "answer_file", "predict_file"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--value", default="y")
args = parser.parse_args()
true = pd.read_csv(args.answer_file)
said = pd.read_csv(args.predict_file)
print("talk")
with open(os.path.join(args.path, args.name, "result.txt"), "w") as file:
    file.write(str((true[args.value] - said[args.value]).abs().mean()))
