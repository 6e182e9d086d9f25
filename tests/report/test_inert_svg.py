"""Of a drawing only shapes and words stay, and its parts have names of their own."""

from kernel_env.report.charts import can_draw, draw, shares
from kernel_env.report.inert_svg import inert_svg

DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 onload="alert(1)"><script>alert(1)</script><style>*{background:url(//x)}</style>
 <a xlink:href="javascript:alert(1)"><text>lost</text></a><image href="https://x.example/"/>
 <foreignObject><p>lost</p></foreignObject><use href="#clip7"/>
 <g clip-path="url(#clip7)" style="position:fixed" onclick="alert(1)"><text>kept</text></g>
 <g clip-path="url(https://x.example/#a)"/><defs><clipPath id="clip7"><rect width="3"/></clipPath></defs>
</svg>"""


def test_only_shapes_and_words_stay() -> None:
    found = inert_svg(DRAWING, "a")

    assert "".join(found.split()) == (
        '<svg><gclip-path="url(#a-1)"><text>kept</text></g><g/>'
        '<defs><clipPathid="a-1"><rectwidth="3"/></clipPath></defs></svg>'
    )


def test_a_drawing_is_the_same_each_time() -> None:
    values = [{"agent": "a", "kind": "reset", "share": 0.5, "order": 0}]
    assert can_draw()

    drawings = [draw(shares(["a"], values, "share"), "Shares", "b") for _ in range(2)]

    assert drawings[0] == drawings[1]
    assert drawings[0].startswith('<svg role="img" aria-label="Shares"')
