"""Tuned search at work: what wins is fitted in full with its parameters, stays, and is searched from there again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs_for_tests import SLOW_MEAN
from lives import Home, Killed, mortal, slowly
from replays import desk
from tables import START, configure, write_policy

from hpcretrain.errors import InputError
from hpcretrain.livehome import start_live
from hpcretrain.messages import Message, Person, Verb, identifier
from hpcretrain.policy.select import CONTEST
from hpcretrain.records import Candidate, Job, PriorityClass, Purpose, Stage
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.train import configured, in_use
from hpcretrain.wiring import run_backtest

HOUR, ASKED = timedelta(hours=1), identifier()
STUMPS = "params = { num_leaves = 2, learning_rate = 0.1, feature_fraction = 1.0 }"
TREES = "search = { num_leaves = { low = 8, high = 31 }, learning_rate = { low = 0.05, high = 0.2, log = true } }"
TUNED = """
[[training.rungs]]
name = "tuned"
windows = ["all", "recent"]
pilot_rows = 20_000
full_rows = 60_000
average_with = 0
trials = 3
hours_share = 1.0
reason = "there is room"
"""


def entangled(rows: int = 8_000) -> pd.DataFrame:
    """What two features tell only together: more than trees of two leaves can learn."""
    random = np.random.default_rng(5)
    x, y = random.normal(size=(2, rows))
    late = random.random(rows) < 0.5 + 0.4 * np.sign(x * y)
    time = START + pd.to_timedelta(np.arange(rows) * 16, unit="min")
    return pd.DataFrame({"time": time, "x": x, "y": y, "late": late.astype("int64")})


def tuned(folder: Path, search: str = TREES, params: str = STUMPS) -> Path:
    named = write_policy(folder)
    with (folder / "policy.toml").open("a") as file:
        file.write(TUNED)
    return configure(folder, entangled(), **named, model__params=params, model__search=search)


def ask(home: Home, now: datetime, prepare: Callable[[Desk], None] = lambda _: None) -> None:
    """Ask for a retraining, and look until nothing is awaited."""
    wanted = Message(ASKED, Verb.REQUEST, "better parameters", None, PriorityClass.STANDARD)
    home.advance(home.until)
    tries: list[Callable[[], object]] = [
        lambda: not home.advance(now, prepare).awaits,
        lambda: home.answer(now + HOUR, wanted, Person("svc", owner=True), prepare).done,
        lambda: not home.advance(now + HOUR, prepare).awaits,
    ]
    for each in tries:
        for _ in range(60):
            with suppress(Killed):
                if each():
                    break
        else:
            raise AssertionError("it never came to an end")


def test_what_a_search_finds_is_fitted_in_full_and_stays(tmp_path: Path) -> None:
    home = Home(tuned(tmp_path), tmp_path / "home")
    ask(home, home.until + 4 * home.step)
    history = home.history()
    cycle = next(each for each in history.cycles if each.release)
    pilots = [job for job in cycle.jobs if job.purpose is Purpose.PILOT]
    assert len(pilots) == 5
    usual = {"num_leaves": "2", "learning_rate": "0.1", "feature_fraction": "1.0"}
    assert [job.params for job in pilots[:2]] == [usual, usual]
    tried = [{name: json.loads(value) for name, value in job.params.items()} for job in pilots[2:]]
    assert all(8 <= each["num_leaves"] <= 31 and 0.05 <= each["learning_rate"] <= 0.2 for each in tried)
    assert [job.window.name for job in pilots] == ["all", "recent", "all", "recent", "all"]
    decided = next(each for each in cycle.decisions if each.action.value == "run")
    assert decided.cost_mrow_passes >= sum(job.cost_mrow_passes for job in cycle.jobs)
    [selection] = [verdict for verdict in cycle.verdicts if verdict.stage is Stage.SELECTION]
    named = [each.check for each in selection.findings if each.check.startswith(CONTEST)]
    assert len(named) == 5
    assert sum("learning_rate=" in name and "num_leaves=" in name for name in named) == 3
    winner = history.known[selection.candidate]
    assert isinstance(winner, Candidate)
    won = history.known[winner.answers[0]]
    [refit] = [job for job in cycle.jobs if job.purpose is Purpose.REFIT]
    assert isinstance(won, Job)
    assert won in pilots[2:], "any of them beats stumps"
    assert refit.params == won.params
    with desk(home.config, home.place, lambda _: None, attended=True) as (at, _, _last):
        assert in_use(at) == won.params, "the next training begins with what was found"
        assert configured(at) == usual
    assert home.replays()


@pytest.mark.parametrize(
    ("search", "why"),
    [
        (
            "search = { num_leaves = { low = 8, high = 500_000 } }",
            r"num_leaves: num_leaves = 500000 is refused",
        ),
        (
            "search = { rounds = { low = 10, high = 20 } }",
            r"rounds = 10 a training takes 10 passes in place of 100",
        ),
        ("search = { eta = { low = 0.1, high = 0.2 } }", r"set twice, under two names"),
        ("search = { num_threads = { low = 1, high = 2 } }", r"cannot be set here"),
        ("search = { num_leafs = { low = 8, high = 9 } }", r"no such parameter"),
        ("search = { num_leaves = { low = 8 } }", r"model\.search\.num_leaves: give low and high, or choices"),
        ("search = { bagging_freq = { low = 0, high = 1 }, subsample_freq = { low = 0, high = 1 } }", r"set twice"),
        ("search = {}", r"names nothing to be searched"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_is_trained(tmp_path: Path, search: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        run_backtest(tuned(tmp_path, search), tmp_path / "home")
    assert not (tmp_path / "home" / "ledger.jsonl").exists()


def test_a_recipe_of_ones_own_is_searched_too(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_MEAN)
    space = "search = { megabytes = { choices = [0, 1] }, sleep_s = { low = 0.0, high = 0.001 } }"
    home = Home(tuned(tmp_path, space, 'recipe = "slow:SlowMean"'), tmp_path / "home")
    ask(home, home.until + 4 * home.step)
    [cycle] = home.history().cycles
    tried = [job.params for job in cycle.jobs[2:]]
    assert len(tried) == 3
    assert {each["megabytes"] for each in tried} == {"0", "1"}
    assert all(0 <= json.loads(each["sleep_s"]) <= 0.001 for each in tried)


@pytest.mark.parametrize("deaths", [False, True])
def test_a_search_that_takes_its_time_comes_to_the_same(tmp_path: Path, deaths: bool) -> None:
    """The controller looks again and again, and dies between; each time it must find the jobs that it ordered."""
    jobs, chance = [], random.Random(3)
    for name in ("at once", "slow"):
        home, asked = Home(tuned(tmp_path / name), tmp_path / name / "home"), dict[str, int]()

        def prepare(desk: Desk, name: str = name, asked: dict[str, int] = asked) -> None:
            if name == "slow":
                slowly(asked, 1)(desk)
            if name == "slow" and deaths:
                mortal(chance.randint(2, 9), chance.random() < 0.5)(desk)

        ask(home, home.until + 4 * home.step, prepare)
        history = home.history()
        assert len(history.releases) == 2
        jobs.append([each.id for each in history.known.values() if isinstance(each, Job)])
        assert home.replays()
    assert jobs[0] == jobs[1]


def test_a_home_that_cannot_search_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = tuned(tmp_path, "search = {}")
    with pytest.raises(InputError, match="needs a new home: one that lives keeps its configuration"):
        start_live(config, tmp_path / "home")
    assert not (tmp_path / "home").exists()
