"""Check what no other linter does: retired words, long files, and imports of guest code.

    python tests/check_source.py

Prints one line per finding and exits with 1 if there is any. `make lint` runs it.
"""

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_LINES = {"kernel_env": 450, "tests": 400}
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**/*.md")
GLOSSARY = "docs/glossary.md"
STANDARD_LIBRARY = sys.stdlib_module_names


def retired_words(glossary: str) -> list[str]:
    """Return the words of the first column of the table under "Retired words"."""
    table = glossary.partition("## Retired words")[2]
    rows = re.findall(r"^\|([^|]+)\|", table, flags=re.MULTILINE)[2:]
    return [word.strip() for row in rows for word in row.split(",")]


def pattern_of(words: list[str]) -> re.Pattern[str]:
    """Return a pattern that finds the words in text; a blank also matches a line break."""
    alternatives = "|".join(re.escape(word).replace(r"\ ", r"[\s#]+") for word in words)
    return re.compile(rf"(?<![\w-])({alternatives})(?![\w-])", re.IGNORECASE)


def words_in_code(text: str, words: list[str]) -> Iterator[tuple[int, str]]:
    """Find retired words in names, strings and comments: line number and word."""
    pattern, names = pattern_of(words), {word for word in words if word.isalpha()}
    lines = iter(text.splitlines(keepends=True))
    for token in tokenize.generate_tokens(lambda: next(lines, "")):
        if token.type == tokenize.NAME and not token.string.isupper():  # Pillow has a BOX
            parts = set(token.string.lower().split("_"))
            yield from ((token.start[0], part) for part in sorted(parts & names))
        elif token.type in (tokenize.STRING, tokenize.COMMENT):
            for match in pattern.finditer(token.string):
                line = token.start[0] + token.string.count("\n", 0, match.start())
                yield line, match[1]


def words_in_page(text: str, words: list[str]) -> Iterator[tuple[int, str]]:
    """Find retired words in Markdown: line number and word."""
    for match in pattern_of(words).finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1]


def outside_imports(path: Path, libraries: set[str]) -> Iterator[tuple[int, str]]:
    """Find imports of guest code from outside its folder: line number and module.

    Allowed are relative imports of the same folder, the standard library, and `libraries`.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(level=0, module=str(module)):
                names = [module]
            case ast.ImportFrom(level=level, module=module) if level > 1:
                names = ["." * level + (module or "")]
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case _:
                continue
        for name in names:
            if name.partition(".")[0] not in STANDARD_LIBRARY | libraries:
                yield node.lineno, name


GUEST_LIBRARIES = {
    "kernel_env/agents/reference/guest": {
        *("PIL", "numpy", "pandas", "scipy", "sklearn", "threadpoolctl"),
    },
    "kernel_env/kernel/guest": {"IPython", "ipykernel", "stack_data", "tornado", "zmq"},
    "kernel_env/sandbox/guest": set(),
    "kernel_env/audit/task/guest": {"ipykernel"},
    "kernel_env/authoring/reference/guest": {
        *("PIL", "lightgbm", "matplotlib", "numpy", "pandas", "scipy", "sklearn", "threadpoolctl"),
        "xgboost",
    },
}
"""What each guest folder may import besides the standard library: libraries of the images."""


def findings(root: Path) -> Iterator[str]:
    """Check everything below a folder; one line per finding."""
    words = retired_words((root / GLOSSARY).read_text())
    for folder, limit in MAX_LINES.items():
        for path in sorted((root / folder).rglob("*.py")):
            text, name = path.read_text(), path.relative_to(root)
            if (lines := text.count("\n")) > limit:
                yield f"{name}: {lines} lines; at most {limit}: split it by idea"
            if folder == "kernel_env":
                for line, word in words_in_code(text, words):
                    yield f"{name}:{line}: the word {word!r} is retired; see {GLOSSARY}"
    of_data = {
        f"{pack.name}.md" for pack in root.glob("tasks/packs/*")
    }  # their words are the data's
    for page in sorted({path for pattern in PAGES for path in root.glob(pattern)}):
        if page != root / GLOSSARY and "_build" not in page.parts and page.name not in of_data:
            for line, word in words_in_page(page.read_text(), words):
                yield f"{page.relative_to(root)}:{line}: the word {word!r} is retired"
    for folder in sorted(path for path in (root / "kernel_env").rglob("guest") if path.is_dir()):
        name = folder.relative_to(root).as_posix()
        if name not in GUEST_LIBRARIES:
            yield f"{name}: list what it may import in tests/check_source.py"
        for path in sorted(folder.rglob("*.py")):
            for line, module in outside_imports(path, GUEST_LIBRARIES.get(name, set())):
                yield f"{path.relative_to(root)}:{line}: guest code imports {module!r}"


def main() -> int:
    """Print the findings. Returns the exit code."""
    found = list(findings(ROOT))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
