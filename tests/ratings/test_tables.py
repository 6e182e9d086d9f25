"""Comparisons as Markdown, CSV, JSON and LaTeX: what they show, and hostile names in them."""

import csv
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_env.episode.activity import CellCounts
from kernel_env.episode.result import EpisodeResult
from kernel_env.errors import UsageError
from kernel_env.ratings import Comparison, compare
from kernel_env.ratings.paper import paper_latex, paper_markdown
from kernel_env.ratings.tables import as_csv, as_json, markdown
from support.records import record

HOSTILE = 'a|b\n<script>alert(1)</script> [x](javascript:y) \\input{z} $&%#_^~{} "`` \x1b[31m\u202e'


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(records(), draws=50)


def records(**change: str) -> list[EpisodeResult]:
    return [
        record(
            agent,
            f"t{task}",
            seed,
            skill + task / 50 + seed / 25,
            cells=CellCounts(execute_run=4, execute_failed=1, validate_run=2),
            steps_by_kind={"execute_code": 3, "get_history": 1},
            tokens={"prompt": 100, "answer": 50},
            human_rank=skill,
            leaderboard_kind="human",
            **{"domain": "nlp" if task < 3 else "tabular", **change},
        )
        for agent, skill in (("openai", 0.5), ("baseline", 0.25))
        for task in range(6)
        for seed in (0, 1)
    ]


def test_markdown_shows_intervals_ratings_pairs_and_what_they_mean(comparison: Comparison) -> None:
    text = markdown(comparison)

    assert "| openai | 0.570 ± 0.020 (0.531 … 0.609) | 6 of 6 | 12, 0, 0 |" in text
    assert "| 1000 | 0.00 | 2 |" in text
    assert "Of 1 pair, 1 differs by more than noise; the first place is that of openai." in text
    assert "Elo 1000 is baseline." in text
    assert (
        "| openai − baseline | 6 | +0.250 | 0.250 … 0.250 | 0.031 | 0.031 | 1.00 | differs |"
        in text
    )
    assert "## nlp" in text
    assert "Success is a position of at least 0.5." in text


def test_csv_has_a_line_for_each_group_agent_and_measure(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(comparison))))

    (own,) = (
        row
        for row in rows
        if (row["group"], row["agent"], row["measure"]) == ("overall", "openai", "position")
    )
    assert float(own["mean"]) == pytest.approx(0.57)
    assert own["tasks"] == "6"
    assert own["bounds_low"] == ""
    assert {row["group"] for row in rows} == {"overall", "nlp", "tabular"}
    assert any(row["measure"] == "elo" for row in rows)


def test_json_has_all_of_the_comparison(comparison: Comparison) -> None:
    found = json.loads(as_json(comparison))

    assert found["overall"]["rows"][0]["estimates"]["position"]["mean"] == pytest.approx(0.57)
    assert found["overall"]["pairs"][0]["verdict"] == "differs"
    assert found["cells"][0]["agent"] == "baseline"


def test_the_paper_table_has_places_and_ratings_of_each_domain(comparison: Comparison) -> None:
    text = paper_markdown(comparison)

    head, _, first, *_ = text.splitlines()
    titles = [title.strip(" `") for title in head.strip("|").split("|")]
    assert titles == [
        "agent", "nlp HumanRank (%)", "nlp Elo", "tabular HumanRank (%)", "tabular Elo",
        "overall HumanRank (%)", "overall Elo", "validations failed (%)", "executions failed (%)",
        "info (%)", "validate (%)", "execute (%)", "history (%)", "reset (%)", "tokens per step",
    ]  # fmt: skip
    values = [value.strip() for value in first.strip("|").split("|")]
    assert values[0] == "openai"
    assert values[5] == "50.0 (50.0 … 50.0)"
    assert values[7:] == ["0.0", "25.0", "0.0", "0.0", "75.0", "25.0", "0.0", "12"]


def test_without_human_boards_the_paper_table_has_positions() -> None:
    found = compare([record("a"), record("b")], draws=5)

    assert "overall Position (%)" in paper_latex(found).replace(r"\%", "%")


def test_latex_has_as_many_cells_in_each_row_as_columns(comparison: Comparison) -> None:
    text = paper_latex(comparison)

    columns = re.search(r"\\begin\{tabular\}\{(l(r+))\}", text)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3
    assert {row.count(" & ") + 1 for row in rows} == {len(columns[1])}


def test_hostile_names_stay_text() -> None:
    found = compare(records(model=HOSTILE, domain=HOSTILE), elo=False)

    text, latex, table = markdown(found), paper_latex(found), paper_markdown(found)

    for shown in (text, table, latex, as_csv(found)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    for shown in (text, table):
        assert "<script>" not in shown
        rows = [line for line in shown.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 2
    for line in latex.splitlines()[1:]:
        assert r"\input{z}" not in line
        assert not re.search(r"(?<!\\)[$#_^~]", line)
    assert json.loads(as_json(found))["cells"][0]["domain"] == HOSTILE


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_no_name_changes_the_form_of_a_table(agent: str, model: str, domain: str) -> None:
    found = compare(
        [
            record(agent, model=model, domain=domain, episode="1"),
            record("baseline", task=domain, domain=agent, episode="2"),
        ],
        elo=False,
    )

    own = len(found.overall.rows)
    for shown in (markdown(found).split("\n\n")[1], paper_markdown(found).split("\n\n")[0]):
        lines = shown.strip("\n").split("\n")
        assert len(lines) == own + 2
        assert len({line.count("|") for line in lines}) == 1
    rows = [line for line in paper_latex(found).splitlines() if line.endswith(r" \\")]
    assert len(rows) == own + 1
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    table = list(csv.reader(io.StringIO(as_csv(found))))
    assert len({len(row) for row in table}) == 1
    as_json(found).encode()


def test_no_cell_of_a_csv_is_a_formula() -> None:
    found = compare([record("=1+1", model="x")], elo=False)

    agents = {row["agent"] for row in csv.DictReader(io.StringIO(as_csv(found)))}

    assert agents == {"'=1+1 (x)"}


def test_ratings_without_the_extra_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "choix", None)  # as if it were not installed

    with pytest.raises(UsageError, match=r"ratings need the extra report .*pip install"):
        compare(records())
    assert compare(records(), elo=False).overall.first == "openai"
