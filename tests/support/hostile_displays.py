"""Displays of cells that try to do something to their reader, by MIME type."""

import base64
import zlib

from kernel_env.kernel.cell import Output


def png(width: int, height: int, *, bytes_per_row: int = 1) -> str:
    """Return the PNG image of a size in base64; its data need not be complete."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum32 = zlib.crc32(kind + data)
        return len(data).to_bytes(4) + kind + data + sum32.to_bytes(4)

    size = width.to_bytes(4) + height.to_bytes(4) + b"\x08\x00\x00\x00\x00"
    rows = zlib.compress(b"\x00" * bytes_per_row * min(height, 100))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.b64encode(data).decode()


SVG = '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(2)</script></svg>'
HOSTILE_DISPLAYS = {
    "script": {"text/html": "<script>alert(1)</script><b>bold</b>"},
    "handler": {"text/html": "<img src=x onerror=alert(1)><p onclick=alert(1)>text</p>"},
    "svg in HTML": {"text/html": f"<div>{SVG}</div>"},
    "frame": {"text/html": "<iframe srcdoc='<script>alert(1)</script>'></iframe>"},
    "style": {"text/html": "<style>body{background:url(https://x.example/)}</style><p>x</p>"},
    "cover": {"text/html": "<div style='position:fixed;inset:0'>You won</div>"},
    "beacon": {"text/html": "<img src='https://x.example/a.png'><link rel=stylesheet href=//x>"},
    "link": {"text/html": "<a href='javascript:alert(1)'>x</a><a href='data:text/html,x'>y</a>"},
    "form": {"text/html": "<form action=https://x.example><input name=password></form>"},
    "meta": {"text/html": "<meta http-equiv=refresh content='0;url=https://x.example'>"},
    "math": {"text/html": "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>"},
    "entity": {
        "text/html": "<img src='jav&#x09;ascript:alert(1)'><img src=data:text/html;base64,x>"
    },
    "drawing": {"image/svg+xml": SVG},
    "program": {"application/javascript": "alert(1)", "text/plain": "<Javascript object>"},
    "program alone": {"application/javascript": "alert(1)"},
    "Markdown": {"text/markdown": "<script>alert(1)</script> ![x](https://x.example/a.png) **b**"},
    "formula": {"text/latex": r"$\href{javascript:alert(1)}{x}$", "text/plain": "x"},
    "formula with HTML": {"text/latex": "$x$<img src=x onerror=alert(1)>", "text/plain": "x"},
    "formula by definition": {"text/latex": r"$\let\x\href \x{javascript:alert(1)}{y}$"},
    "widget": {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}},
    "plotly": {"application/vnd.plotly.v1+json": {"data": []}, "text/html": "<script>1</script>"},
    "page": {"application/x-unknown": "x", "text/html; charset=utf-8": "<script>1</script>"},
    "picture that is none": {"image/png": 'x" onerror="alert(1)'},
    "picture with more": {"image/png": png(3, 3) + '" onerror="alert(1)'},
    "huge picture": {"image/png": png(100_000, 100_000)},
    "broken text": {"text/plain": "\ud800 \x1b]0;title\x07 \u202e"},
}
"""By what they try."""


def display(data: dict[str, object]) -> Output:
    return {"output_type": "display_data", "data": data, "metadata": {"isolated": True}}
