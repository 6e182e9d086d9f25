"""Check the conversion of TeX formulas to plain text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.report.tex import formula_to_text, replace_formulas

TEX = st.lists(
    st.sampled_from(
        [
            *"{}_^&~ax1 +=()[]|.$\n",
            *(r"\frac", r"\sqrt", r"\sum", r"\hat", r"\mathrm", r"\left", r"\bigl", r"\begin"),
            *(r"\alpha", r"\unknown", r"\\", r"\,", r"\{"),
            "\\",
        ]
    ),
    max_size=30,
).map("".join)


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        (
            r"\mathrm{AUC} = \frac{1}{|P|\,|N|} \sum_{i \in P} \sum_{j \in N}"
            r" \left( [p_i > p_j] + \tfrac12 [p_i = p_j] \right)",
            "AUC = 1/(|P| |N|) Σ_(i∈P) Σ_(j∈N) ([pᵢ > pⱼ] + 1/2 [pᵢ = pⱼ])",
        ),
        (
            r"\mathrm{RMSLE} = \sqrt{\frac1n \sum_{i=1}^{n}"
            r" \bigl( \ln(1 + \hat y_i) - \ln(1 + y_i) \bigr)^2}",
            "RMSLE = √(1/n Σᵢ₌₁ⁿ (ln(1 + ŷᵢ) - ln(1 + yᵢ))²)",
        ),
        (
            r"\text{MAE} = \frac{1}{n}\sum_{i=1}^{n}\left|y_i - \hat{y}_i\right|",
            "MAE = 1/n Σᵢ₌₁ⁿ |yᵢ - ŷᵢ|",
        ),
        (r"F_1 = \frac{2\,TP}{2\,TP + FP + FN}", "F₁ = (2 TP)/(2 TP + FP + FN)"),
        (r"x^{2k} \le \frac{\alpha}{\beta}, \mathcal{Q}^{Q}", "x²ᵏ ≤ α/β, Q^Q"),
        (r"\begin{cases} 1 & a \\ 0 & b \end{cases}", "1 a ; 0 b"),
        (r"\unknown{x} + \hat{abc} }{ \\", "unknownx + abc ;"),
    ],
)
def test_a_formula_is_converted_to_readable_text(tex: str, expected: str) -> None:
    assert formula_to_text(tex) == expected


@given(TEX)
def test_any_tex_is_converted_to_one_line_without_tex_commands(tex: str) -> None:
    line = formula_to_text(tex)

    assert "\n" not in line
    assert line == line.strip()
    assert not [command for command in ("\\frac", "\\sum", "\\alpha", "\\left") if command in line]


@given(st.text(st.sampled_from("ab 12.,;:!?()[]<>=+-*/|\n")))
def test_text_without_tex_is_not_changed(plain: str) -> None:
    assert replace_formulas(plain) == plain
    words = " ".join(plain.split())
    assert formula_to_text(plain).replace(" ", "") == words.replace(" ", "")


def test_formulas_are_replaced_and_dollar_amounts_and_code_are_not() -> None:
    converted = replace_formulas(
        "between $5 and $10 the error $e_i = \\hat y_i - y_i$ is\n\n$$a_1$$\n\n`$x_1$`"
    )

    assert converted == (
        "between $5 and $10 the error eᵢ = ŷᵢ \\- yᵢ is\n\n\n\n> a₁\n\n\n\n`$x_1$`"
    )
