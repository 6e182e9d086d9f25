"""Write the notebook of an episode as an HTML page that needs no network and runs nothing."""

from html import escape
from pathlib import Path

from nbformat import NotebookNode

from kernel_env.errors import SandboxError, UsageError
from kernel_env.report.tex import replace_formulas

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The content security policy: no script, no request, pictures inside the page only."""
STYLE = """
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1f2328; background: #fff;
  font: 16px/1.5 system-ui, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; }
h1, h2, h3 { line-height: 1.25; margin: 1.5em 0 .5em; }
a { color: #0969da; }
a.anchor-link { display: none; }
img { max-width: 100%; }
table { border-collapse: collapse; margin: .8em 0; font-size: .875rem; display: block;
  overflow: auto; }
td, th { padding: .3em .7em; border-bottom: 1px solid #d0d7de; text-align: left; }
.output_area td, .output_area th { text-align: right; }
pre { overflow: auto; margin: .4em 0; padding: .7em .9em; border-radius: 6px;
  font: .8125rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .85em;
  background: #eff1f3; padding: .1em .3em; border-radius: 4px; }
pre code { background: none; padding: 0; font-size: 1em; }
.text_cell_render pre { background: #f6f8fa; border-left: 3px solid #d0d7de;
  white-space: pre-wrap; }
.input_area pre, .input pre { background: #f6f8fa; border: 1px solid #d0d7de; }
.prompt { color: #8c959f; font: .75rem ui-monospace, monospace; }
.output_stderr pre { background: #fff8f0; }
.output_error pre, .output_traceback pre { background: #fff5f5; }
sub { color: #57606a; vertical-align: baseline; font-size: .8125rem; }
summary { cursor: pointer; }
"""
ANSI = {
    "black": "#24292f",
    "red": "#cf222e",
    "green": "#116329",
    "yellow": "#7d4e00",
    "blue": "#0969da",
    "magenta": "#8250df",
    "cyan": "#1b7c83",
    "white": "#6e7781",
}
"""Colours of a terminal's text, for tracebacks."""


def page_of(notebook: NotebookNode) -> str:
    """Return a notebook as a page. Raises `UsageError` without nbconvert."""
    try:
        from nbconvert import HTMLExporter
        from pygments.formatters import HtmlFormatter
    except ImportError as error:
        raise UsageError(
            f"a page needs the extra html ({error.name} is not installed); run: pip install"
            " 'kernel-env[html]'"
        ) from error
    shown = NotebookNode(notebook)
    shown.cells = [readable(cell) for cell in notebook.cells]
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(shown)
    colours = [
        f".ansi-{name}-fg, .ansi-{name}-intense-fg {{ color: {c}; }}" for name, c in ANSI.items()
    ]
    style = "\n".join([STYLE, ".ansi-bold { font-weight: bold; }", *colours])
    style += HtmlFormatter(style="friendly").get_style_defs(".highlight")
    return whole_page(title_of(notebook), body, style)


def write_page(page: str, path: Path) -> None:
    """Write a page. Raises `SandboxError`."""
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SandboxError(f"the page {path} cannot be written: {error.strerror}") from error


def whole_page(title: str, body: str, style: str = STYLE) -> str:
    """Return a page around a body of harmless HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def readable(cell: NotebookNode) -> NotebookNode:
    """Return a cell whose formulas are text: no page loads a program for them."""
    if cell.cell_type != "markdown":
        return cell
    return NotebookNode({**cell, "source": replace_formulas(cell.source)})


def title_of(notebook: NotebookNode) -> str:
    """Return the first heading of a notebook."""
    first = notebook.cells[0].source if notebook.cells else ""
    return str(first.partition("\n")[0].lstrip("# ").replace("`", ""))
