"""Read the code of the guides."""

import re
from pathlib import Path

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"


def guide_blocks(name: str, language: str = "python") -> list[str]:
    """Return the code blocks of a guide, without the indentation of the list they are in."""
    text = (GUIDES / f"{name}.md").read_text()
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]
