"""Check that a suite file is read, and that each mistake in one gets one line."""

from pathlib import Path

import pytest

from kernel_env.errors import KernelEnvError, UsageError
from kernel_env.suite.file import read_suite_file
from kernel_env.suite.plan import Shard, parse_shard, plan_suite
from support.suites import TINY, write_suite

AGENT = '[[agents]]\nname = "a"\nagent = "baseline"\n'
BEGIN = f'name = "n"\ntasks = ["{TINY}"]\nsandbox = "local"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is not TOML: "),
        (AGENT, "the key name is missing; the key tasks is missing"),
        (BEGIN, "the key agents is missing"),
        (BEGIN + "agents = []", "agents is empty; it must have at least one entry"),
        ('name = "n"\ntasks = []\n' + AGENT, "tasks is empty"),
        (
            BEGIN + "sedes = 2\n" + AGENT,
            "no key of a suite file named 'sedes'; did you mean 'seeds'?",
        ),
        (
            BEGIN + AGENT + 'modle = "m"',
            "no key of [[agents]] named 'modle'; did you mean 'model'?",
        ),
        (
            BEGIN + "limits = { mony = 3 }\n" + AGENT,
            "no key of [limits] named 'mony'; did you mean 'money'?",
        ),
        (
            BEGIN + AGENT + '[endpoints.lab]\nurl = "http://lab"',
            "the key endpoints.lab.base_url is missing; no key of [endpoints.lab] named 'url'",
        ),
        (BEGIN + "seeds = 0\n" + AGENT, "seeds is wrong (0): input should be greater than 0"),
        (BEGIN + "seeds = 1.5\n" + AGENT, "seeds is wrong (1.5)"),
        (BEGIN + 'name2 = "x"\n' + AGENT, "named 'name2'; did you mean 'name'?"),
        (f'name = "../x"\ntasks = ["{TINY}"]\n{AGENT}', "name is wrong ('../x')"),
        (BEGIN + AGENT + AGENT, "2 agents are named 'a'; give each a name of its own"),
        (BEGIN + AGENT + AGENT.replace('"a"', '"A"'), "2 agents are named 'a'"),
        (
            BEGIN + AGENT + AGENT.replace('"a"', '"b"'),
            "the agents a and b have the same settings; remove one",
        ),
        (BEGIN + 'anchor = "aa"\n' + AGENT, "the anchor: no agent named 'aa'; known: a"),
        (BEGIN + AGENT + 'endpoint = "lb"', "agent a: no endpoint named 'lb'; known: none"),
        (BEGIN.replace("local", "auto") + AGENT, "the sandbox is 'auto'; name one"),
        (BEGIN + "budget = { stpes = 3 }\n" + AGENT, "named 'stpes'; did you mean 'steps'?"),
        (BEGIN + "budget = { steps = 0 }\n" + AGENT, "the budget's steps is 0"),
        (BEGIN + 'reward = "postion"\n' + AGENT, "no reward named 'postion'; did you mean"),
        (BEGIN + 'feedback = "private"\n' + AGENT, "feedback is wrong ('private')"),
        (BEGIN.replace("local", "lcal") + AGENT, "no sandbox named 'lcal'; did you mean 'local'?"),
        (
            BEGIN + AGENT.replace("baseline", "basline"),
            "no agent named 'basline'; did you mean 'baseline'?",
        ),
        (BEGIN + AGENT.replace("baseline", "x.py:Agent"), "x.py cannot be read: No such file"),
        (BEGIN + AGENT + 'script = "none.json"', "none.json cannot be read: No such file"),
        (BEGIN.replace(str(TINY), "tinny") + AGENT, "no task named 'tinny'"),
        (
            BEGIN.replace(str(TINY), "domain:tabula") + AGENT,
            "no domain named 'tabula'; did you mean 'tabular'?",
        ),
        (
            BEGIN.replace(str(TINY), "source:nobody") + AGENT,
            "no source named 'nobody'; known: none",
        ),
        (
            BEGIN.replace(str(TINY), "split:low") + AGENT,
            "no selector of tasks named 'split'; known: domain, pack, source",
        ),
        (
            BEGIN + "budget = { money = 1 }\n" + AGENT + 'model = "m"',
            "money is limited, and the model of a has no price",
        ),
        (
            BEGIN + "limits = { money = 1 }\n" + AGENT + 'model = "m"\nprice_in = 1\nprice_out = 2',
            "limits.money needs budget.money, which is reserved before an episode starts",
        ),
        (
            BEGIN
            + "limits = { money = 1 }\nbudget = { money = 2 }\n"
            + AGENT
            + 'model = "m"\nprice_in = 1\nprice_out = 2',
            "budget.money is 2, more than limits.money, 1",
        ),
        (BEGIN + 'name = "\\u001b[31m"\n', "is not TOML: "),
        (
            BEGIN + AGENT.replace('"a"', '"a\\nerror: b"'),
            r"agents.0.name is wrong ('a\nerror: b'): a name",
        ),
    ],
)
def test_a_mistake_gets_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(text)

    with pytest.raises(KernelEnvError) as raised:
        plan_suite(path)

    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml does not exist; give a suite file"):
        read_suite_file(tmp_path / "none.toml")


def test_seeds_are_outermost_and_agents_take_turns(tmp_path: Path) -> None:
    path = write_suite(
        tmp_path,
        *(
            {"name": name, "agent": "baseline", "context_tokens": n}
            for n, name in enumerate("xyz", 1)
        ),
        tasks=["domain:time series", str(TINY), "bike-hourly"],
        seeds=2,
    )

    jobs = plan_suite(path).jobs

    seeds, tasks = [job.seed for job in jobs], [job.task for job in jobs]
    assert seeds == sorted(seeds)
    assert len(jobs) == len({job.key for job in jobs}) == 2 * 3 * 5
    assert tasks[:15] == tasks[15:]
    assert [len(set(tasks[n : n + 3])) for n in range(0, 15, 3)] == [1] * 5
    assert ["".join(job.agent for job in jobs[n : n + 3]) for n in (0, 3, 6)] == [
        "xyz",
        "yzx",
        "zxy",
    ]


def test_the_order_of_selectors_does_not_matter(tmp_path: Path) -> None:
    agent = {"name": "a", "agent": "baseline"}
    one = plan_suite(write_suite(tmp_path, agent, tasks=["mnist-5k", "adult-income", "spam-email"]))
    other = plan_suite(
        write_suite(tmp_path, agent, tasks=["spam-email", "mnist-5k", "adult-income"])
    )

    assert [job.key for job in one.jobs] == [job.key for job in other.jobs]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_wrong_shard_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="give i/n with 1 ≤ i ≤ n"):
        parse_shard(text)


def test_shards_are_disjoint_and_complete_and_play_all_agents_of_a_task(tmp_path: Path) -> None:
    agents = [{"name": n, "agent": "baseline", "context_tokens": i} for i, n in enumerate("ab", 1)]
    jobs = plan_suite(write_suite(tmp_path, *agents, tasks=["domain:tabular"], seeds=3)).jobs

    shares = [[job for job in jobs if parse_shard(f"{n}/4").has(job)] for n in (1, 2, 3, 4)]

    assert sorted(job.key for share in shares for job in share) == sorted(job.key for job in jobs)
    for share in shares:
        cells = {(job.task, job.seed) for job in share}
        assert len(share) == 2 * len(cells)
    assert Shard().has(jobs[0])
