"""Write HTML pages that need no network and in which nothing runs."""

from html import escape
from pathlib import Path

from kernel_env.errors import SandboxError

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The content security policy: no script, no request, pictures inside the page only."""
STYLE = """
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1f2328; background: #fff;
  font: 16px/1.5 system-ui, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; }
h1, h2, h3 { line-height: 1.25; margin: 1.5em 0 .5em; }
a { color: #0969da; }
img { max-width: 100%; }
table { border-collapse: collapse; margin: .8em 0; font-size: .875rem; display: block;
  overflow: auto; }
td, th { padding: .3em .7em; border-bottom: 1px solid #d0d7de; text-align: left; }
pre { overflow: auto; margin: .4em 0; padding: .7em .9em; border-radius: 6px;
  font: .8125rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .85em;
  background: #eff1f3; padding: .1em .3em; border-radius: 4px; }
pre code { background: none; padding: 0; font-size: 1em; }
sub { color: #57606a; vertical-align: baseline; font-size: .8125rem; }
summary { cursor: pointer; }
"""


def page(title: str, body: str, style: str = STYLE) -> str:
    """Return a page around a body of harmless HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def write_page(text: str, path: Path) -> None:
    """Write a page. Raises `SandboxError`."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SandboxError(f"the page {path} cannot be written: {error.strerror}") from error
