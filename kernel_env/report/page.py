"""Write the notebook of an episode as an HTML page that needs no network and runs nothing."""

from nbformat import NotebookNode

from kernel_env.episode import html_page
from kernel_env.errors import UsageError
from kernel_env.report.tex import replace_formulas

STYLE = f"""{html_page.STYLE}
a.anchor-link {{ display: none; }}
.output_area td, .output_area th {{ text-align: right; }}
.text_cell_render pre {{ background: #f6f8fa; border-left: 3px solid #d0d7de;
  white-space: pre-wrap; }}
.input_area pre, .input pre {{ background: #f6f8fa; border: 1px solid #d0d7de; }}
.prompt {{ color: #8c959f; font: .75rem ui-monospace, monospace; }}
.output_stderr pre {{ background: #fff8f0; }}
.output_error pre, .output_traceback pre {{ background: #fff5f5; }}
.ansi-bold {{ font-weight: bold; }}
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


def page_of(notebook: NotebookNode, *, before: str = "", style: str = "") -> str:
    """Return a notebook as a page.

    Args:
        notebook: the notebook.
        before: harmless HTML that stands before it.
        style: styles in addition to those of the page.

    Raises `UsageError` without nbconvert.
    """
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
    highlighting = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    styles = "\n".join([STYLE, *colours, highlighting, style])
    return html_page.page(title_of(notebook), before + body, styles)


def readable(cell: NotebookNode) -> NotebookNode:
    """Return a cell whose formulas are text: no page loads a program for them."""
    if cell.cell_type != "markdown":
        return cell
    return NotebookNode({**cell, "source": replace_formulas(cell.source)})


def title_of(notebook: NotebookNode) -> str:
    """Return the first heading of a notebook."""
    first = notebook.cells[0].source if notebook.cells else ""
    return str(first.partition("\n")[0].lstrip("# ").replace("`", ""))
