"""A pack of two tasks from one wheel."""

from pathlib import Path

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from kernel_env.cli import app
from support.wheels import make_wheel, sha256

random = np.random.RandomState(5)
ROWS = 300
WEIGHT = random.normal(50, 10, ROWS).round(2)
TABLE = pd.DataFrame(
    {
        "rownames": range(ROWS),
        "weight": WEIGHT,
        "colour": random.choice(["red", "green"], ROWS),
        "wt": (WEIGHT * 2).round(1),
        "price": (WEIGHT * 3 + random.normal(0, 2, ROWS)).round(2),
    }
)
CSV = TABLE.to_csv(index=False).encode()
PACK = """\
[pack]
name = "little"
version = "1"

[wheel.fruit]
version = "1.0"
sha256 = "{wheel}"

[task.fruit-price]
from = [{{wheel = "fruit", file = "fruit/data.csv", reader = "csv", sha256 = "{file}"}}]
drop = ["wt"]
target = "price"
metric = "mae"
licence = "MIT (METADATA of the package fruit)"
source = "Made for tests."
summary = "Predict the price of a fruit from its weight and colour."
columns = {{weight = "grams", price = "cents"}}
family = "fruit"
topic = "trade"
question = "price"

[task.fruit-colour]
from = [{{wheel = "fruit", file = "fruit/data.csv", reader = "csv", sha256 = "{file}"}}]
drop = ["wt"]
target = "colour"
licence = "MIT (METADATA of the package fruit)"
source = "Made for tests."
summary = "Tell the colour of a fruit by its weight and price."
family = "fruit"
topic = "trade"
question = "yes-no"
"""


def write_pack(index: Path, *changes: tuple[str, str]) -> Path:
    """Write the wheel and the manifest, with texts replaced in it; return its path."""
    wheel = make_wheel(index, "fruit", "1.0", {"fruit/data.csv": CSV})
    text = PACK.format(wheel=sha256(wheel.read_bytes()), file=sha256(CSV))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = index.parent / "pack.toml"
    path.write_text(text)
    return path


def run_pack(*argv: str | Path) -> tuple[int, str]:
    """Run `kernel-env tasks pack`; return its exit code and what it says."""
    done = CliRunner().invoke(app, ["tasks", "pack", *map(str, argv)])
    if done.exception and not isinstance(done.exception, SystemExit):
        return 1, str(done.exception)
    return done.exit_code, done.output
