"""Homes that share limits, at work: slots, hours, stops of all; and their decisions are made again from their facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from jobs_for_tests import SLOW_MEAN
from lives import Home, slowly
from tables import configure, orders, write_policy
from whole_cycle import AT, DAY, whole_cycle

from hpcretrain import again
from hpcretrain.adapters.board import FolderBoard
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.config.load import kept_policy
from hpcretrain.errors import InputError
from hpcretrain.evidence import Family, Measure
from hpcretrain.history import History
from hpcretrain.messages import Message, Person, Verb, identifier, telling
from hpcretrain.records import (
    Action,
    Candidate,
    Decision,
    Finding,
    Job,
    Outcome,
    PriorityClass,
    Purpose,
    Record,
    Release,
    Start,
)
from hpcretrain.steps.desk import Desk
from hpcretrain.wiring import run_backtest

HOUR = timedelta(hours=1)
OWNER = Person("svc", owner=True)
IDLE = Finding(check="load", outcome=Outcome.PASS, reason="nobody is here", observed=0, limit=8)
ADMISSION = """
[admission]
most_running = 1
silent_hours = 1000
[admission.urgent]
most_running = 1
delay_hours = 0
risk_points = 1
reason = "one at a time"
[admission.standard]
most_running = 1
delay_hours = 24
risk_points = 1
reason = "one at a time"
[admission.background]
most_running = 1
delay_hours = 72
reason = "one at a time"
[admission.hours]
team = 100.0
reason = "what the team has"
[admission.risk]
days = 30
model = 1
rollback_points = 2
reason = "one release a month"
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharing")
    changes = write_policy(folder, weight="0.000001")
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text() + ADMISSION)
    path = configure(folder, orders(rows=8_000, minutes=16), **changes)
    path.write_text(path.read_text().replace("[model]\n", '[model]\nteam = "shop"\nafter = ["file:upstream.*"]\n'))
    (folder / "upstream.csv").touch()
    return path


def on(folder: Path, name: str, then: Callable[[Desk], None] = lambda _: None) -> Callable[[Desk], None]:
    """Puts a home on a board, under a name of its own."""

    def prepare(desk: Desk) -> None:
        desk.board = FolderBoard(folder, name, folder / name)
        desk.modified = lambda _: datetime.now().astimezone()
        desk.trainer.outlook = lambda _: (IDLE,)  # type: ignore[method-assign]
        then(desk)

    return prepare


def asks(wanted: str = "standard", deadline: datetime | None = None) -> Message:
    return Message(identifier(), Verb.REQUEST, "an incident", None, PriorityClass(wanted), deadline=deadline)


def findings(home: Home) -> dict[str, Finding]:
    return {each.check: each for each in home.history().cycles[-1].decisions[-1].findings}


def rename(config: Path, folder: Path, model: str) -> Path:
    """The same table under another model."""
    text = config.read_text()
    name = text.split('name = "')[1].split('"')[0]
    other = config.parent / f"{model}.toml"
    other.write_text(text.replace(f'name = "{name}"', f'name = "{model}"'))
    return other


def test_two_homes_share_one_slot_and_the_second_begins_when_the_first_is_done(config: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    board.mkdir()
    slow = slowly({}, 1_000)
    first = Home(rename(config, tmp_path, "first"), tmp_path / "first")
    second = Home(rename(config, tmp_path, "second"), tmp_path / "second")
    now = first.until + 4 * first.step
    for home, name in ((first, "first"), (second, "second")):
        home.advance(now, on(board, name))
    first.answer(now + HOUR, asks(), OWNER, on(board, "first", slow))
    assert first.history().training is not None
    second.answer(now + 2 * HOUR, asks(), OWNER, on(board, "second", slow))
    found = findings(second)
    assert second.history().training is None
    assert found["running:standard"].outcome is Outcome.WAIT
    assert found["running:all"].observed == 1
    assert found["after:file:upstream.*"].outcome is Outcome.PASS
    assert found["hours:team"].outcome is Outcome.PASS
    assert "reserved" in found["hours:team"].reason
    second.advance(now + 2 * HOUR + HOUR / 2, on(board, "second", slow))
    assert len(second.history().cycles[0].decisions) == 1, "looking in vain leaves no record"
    training = first.history().training
    assert training is not None
    first.answer(
        now + 3 * HOUR, Message(identifier(), Verb.CANCEL, "over", training.request.id), OWNER, on(board, "first", slow)
    )
    before = len(second.history().known)
    second.advance(now + 3 * HOUR, on(board, "second", slow))
    assert second.history().training is not None, "it does not wait for the next batch"
    assert len(second.history().cycles[0].decisions) == 2
    assert len(second.history().known) > before
    for place in (tmp_path / "first", tmp_path / "second"):
        records: list[Record] = list(FileLedger(place / "ledger.jsonl", read_only=True).records())
        made = list(again.replay(records, lambda text: kept_policy(text, "a policy")))
        assert any(isinstance(each.record, Decision) for each in made)
        assert all(each.same for each in made), [each.why for each in made if not each.same]


def test_a_stop_of_all_holds_every_home_of_the_board_and_any_of_them_lifts_it(config: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    board.mkdir()
    home = Home(config, tmp_path / "home")
    now = home.until + 4 * home.step
    home.advance(now, on(board, "here"))
    other = FolderBoard(board, "elsewhere", tmp_path)
    home.answer(now + HOUR, Message(identifier(), Verb.STOP, "an incident", "all"), OWNER, on(board, "here"))
    assert other.read().stop is not None
    home.answer(now + 2 * HOUR, asks(), OWNER, on(board, "here"))
    assert findings(home)["stop"].outcome is Outcome.WAIT
    other.stop(None)
    home.advance(now + home.step, on(board, "here"))
    assert findings(home)["stop"].outcome is Outcome.PASS
    assert home.history().cycles[-1].run is not None


def test_without_a_board_there_is_nothing_that_all_could_mean(config: Path, tmp_path: Path) -> None:
    home = Home(config, tmp_path / "home")
    now = home.until + home.step
    home.advance(now)
    for verb in (Verb.STOP, Verb.RESUME):
        answer = home.answer(now + HOUR, Message(identifier(), verb, "an incident", "all"), OWNER)
        assert not answer.done
        assert "no board" in answer.reason
    assert not home.history().stops


def test_a_deadline_that_passes_while_it_waits_asks_for_a_person(config: Path, tmp_path: Path) -> None:
    home = Home(config, tmp_path / "home")
    now = home.until + 4 * home.step
    home.advance(now)
    home.answer(now + HOUR, Message(identifier(), Verb.STOP, "an incident", "model"), OWNER)
    home.answer(now + 2 * HOUR, asks(deadline=now + 5 * HOUR), OWNER)
    assert findings(home)["deadline"].outcome is Outcome.PASS
    home.advance(now + home.step)
    assert findings(home)["deadline"].outcome is Outcome.FAIL
    assert home.history().cycles[-1].decisions[-1].action is Action.HOLD


def test_a_deadline_that_has_passed_is_refused_and_nothing_is_recorded(config: Path, tmp_path: Path) -> None:
    home = Home(config, tmp_path / "home")
    now = home.until + 4 * home.step
    home.advance(now)
    before = len(home.history().known)
    for late in (now - 300 * HOUR, now + HOUR):
        answer = home.answer(now + HOUR, asks("urgent", deadline=late), OWNER)
        assert not answer.done
        assert "has passed" in answer.reason
    assert len(home.history().known) == before


@pytest.mark.parametrize(
    ("wanted", "hours", "comes_to"),
    [("background", 6, "urgent"), ("background", 200, "standard"), ("urgent", 200, "urgent")],
)
def test_a_deadline_makes_a_request_more_urgent_by_the_rules_of_the_classes_and_never_less(
    config: Path, tmp_path: Path, wanted: str, hours: int, comes_to: str
) -> None:
    home = Home(config, tmp_path / "home")
    now = home.until + 4 * home.step
    home.advance(now)
    assert home.answer(now + HOUR, asks(wanted, deadline=now + (hours + 1) * HOUR), OWNER).done
    decided = home.history().cycles[-1].decisions[-1]
    assert decided.priority_class == PriorityClass(comes_to)
    assert findings(home)["class"].reason.startswith(comes_to)
    assert ("slack_hours" if comes_to != wanted else "no more urgent") in findings(home)["class"].reason


def test_a_class_that_needs_a_window_does_not_run_where_none_can_be_known(config: Path, tmp_path: Path) -> None:
    def needy(desk: Desk) -> None:
        rules = desk.terms.policy.admission
        assert rules is not None
        standard = rules.standard.model_copy(update={"needs_window": True})
        policy = desk.terms.policy.model_copy(update={"admission": rules.model_copy(update={"standard": standard})})
        desk.terms = replace(desk.terms, policy=policy)

    home = Home(config, tmp_path / "home")
    now = home.until + 4 * home.step
    home.advance(now)
    home.answer(now + HOUR, asks(), OWNER, on(tmp_path, "here", needy))
    assert findings(home)["window"].outcome is Outcome.INSUFFICIENT
    assert "set model.traffic" in findings(home)["window"].reason
    assert home.history().cycles[-1].run is None


LADDER = """
[[training.rungs]]
name = "deep"
windows = ["all", "recent", "decayed"]
pilot_rows = 50_000
full_rows = 200_000
average_with = 1
hours_share = 1.0
reason = "all there is"
[[training.rungs]]
name = "light"
windows = ["recent"]
pilot_rows = 2_000
full_rows = 4_000
average_with = 0
hours_share = 0.1
reason = "a short window"
"""


@pytest.mark.parametrize(("hours", "rung", "pilots"), [(100, "deep", 3), (1, "light", 1)])
def test_a_near_deadline_takes_a_lighter_rung_and_the_same_gate(
    config: Path, tmp_path: Path, hours: int, rung: str, pilots: int
) -> None:
    folder = tmp_path / "ladder"
    folder.mkdir()
    for name in ("config.toml", "policy.toml"):
        text = (config.parent / name).read_text()
        (folder / name).write_text(text.replace('path = "', f'path = "{config.parent}/'))
    with (folder / "policy.toml").open("a") as file:
        file.write(LADDER)
    home = Home(folder / "config.toml", tmp_path / "home")
    now = home.until + 4 * home.step
    home.advance(now, on(tmp_path, "here"))
    answer = home.answer(now + HOUR, asks("urgent", deadline=now + HOUR + hours * HOUR), OWNER, on(tmp_path, "here"))
    found = findings(home)
    assert answer.done
    assert found["scope"].observed == rung
    [cycle] = home.history().cycles
    pilot = [job for job in cycle.jobs if job.purpose is Purpose.PILOT]
    assert len(pilot) == pilots
    assert cycle.verdicts, "it competes and is judged as any other"
    assert home.replays()


WORTH = """
[admission.worth]
currency = "EUR"
loss_per_day = 10.0
horizon_days = 10
reason = "what late orders cost"
[admission.operational_risk]
latency = 0.5
memory = 0.25
reliability = 0.25
reason = "predictions are waited for"
[admission.headroom]
signal = "p95_ms"
most = 20
fresh_hours = 24
reason = "slower by 20 ms is felt"
"""


def weighing(folder: Path, table: pd.DataFrame, price: float, **changes: str) -> Home:
    """A home whose policy reckons what a training is worth, and what it may do to serving."""
    named = write_policy(folder, **changes)
    policy = folder / "policy.toml"
    limits = f"hour_price = {price}\nlost_share = 0.1\nmost_operational_risk = 550\nreason = "
    policy.write_text(policy.read_text() + ADMISSION.replace("reason = ", limits, 3) + WORTH)
    return Home(configure(folder, table, **named, model__team='team = "shop"'), folder / "home")


def test_a_decline_that_does_not_pay_waits_and_a_person_may_want_it_all_the_same(tmp_path: Path) -> None:
    home = weighing(tmp_path, orders(rows=8_000, minutes=16, change_at=0.6), price=1e6)
    now = home.until
    while not home.history().cycles:
        now += home.step
        home.advance(now, on(tmp_path, "here"))
    found = findings(home)["worth"]
    assert found.outcome is Outcome.WAIT
    assert "CPU hours at 1e+06" in found.reason
    assert home.history().cycles[-1].run is None
    home.answer(now + HOUR, asks(), OWNER, on(tmp_path, "here"))
    asked = findings(home)["worth"]
    assert asked.outcome is Outcome.PASS
    assert "svc asks for it all the same" in asked.reason
    assert home.replays()


def test_a_training_waits_until_serving_has_room_for_what_it_may_do_to_it(tmp_path: Path) -> None:
    home = weighing(tmp_path, orders(rows=8_000, minutes=16, change_at=None), price=0.01, weight="0.000001")
    now = home.until + 4 * home.step
    home.advance(now, on(tmp_path, "here"))
    home.answer(now + HOUR, asks(), OWNER, on(tmp_path, "here"))
    assert findings(home)["operational_risk"].outcome is Outcome.WAIT
    assert "not known" in findings(home)["operational_risk"].reason
    for hours, effect, outcome in ((3, 18.0, Outcome.WAIT), (6, 0.5, Outcome.PASS)):
        at = now + hours * HOUR
        heard = Measure("orders", Family.SERVING, "p95_ms", at, effect, effect, 600, reason="slower")
        home.answer(at + HOUR / 2, telling((heard,)), OWNER, on(tmp_path, "here"))
        home.advance(at + HOUR, on(tmp_path, "here"))
        assert findings(home)["operational_risk"].outcome is outcome
    assert home.history().cycles[-1].run is not None
    assert home.replays()


WARM = LADDER.replace("average_with", "warm_share = 0.25\naverage_with")


def test_a_warm_rung_goes_on_from_what_serves_and_has_learned_what_that_learned(tmp_path: Path) -> None:
    changes = write_policy(tmp_path)
    with (tmp_path / "policy.toml").open("a") as file:
        file.write(WARM)
    home = Home(configure(tmp_path, orders(rows=8_000, minutes=16, change_at=0.5), **changes), tmp_path / "home")
    first, now = None, home.until
    while len(home.history().releases) < 2:
        now += home.step
        assert now < home.last
        home.advance(now)
        first = first or home.history().champion
    history = home.history()
    assert first is not None
    cycle = next(each for each in history.cycles if each.release)
    assert {job.start.candidate for job in cycle.jobs if job.start} == {first.candidate}
    assert all(job.start and job.start.passes == 25 for job in cycle.jobs)
    assert {job.purpose for job in cycle.jobs} == {Purpose.PILOT, Purpose.REFIT}
    jobs = [each for each in history.known.values() if isinstance(each, Job)]
    assert [job.start for job in jobs[:2]] == [None, None], "the first model begins from nothing"
    champion = history.known[first.candidate]
    assert isinstance(champion, Candidate)
    assert history.learned[0] == champion.window.start
    assert home.replays()


def test_a_recipe_that_cannot_go_on_from_a_model_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    changes = write_policy(tmp_path)
    with (tmp_path / "policy.toml").open("a") as file:
        file.write(WARM)
    (tmp_path / "slow.py").write_text(SLOW_MEAN)
    table = orders(rows=4_000, minutes=32, change_at=None)
    config = configure(tmp_path, table, **changes, model__recipe='recipe = "slow:SlowMean"')
    with pytest.raises(InputError, match=r"heed TrainingData\.start"):
        run_backtest(config, tmp_path / "home")


def test_what_a_fit_went_on_from_has_learned_counts_as_learned() -> None:
    records = whole_cycle()
    release = next(each for each in reversed(records) if isinstance(each, Release))
    job = next(each for each in records if isinstance(each, Job))
    fit = next(each for each in records if isinstance(each, Candidate))
    first = replace(fit, window=replace(fit.window, start=AT, end=AT + 9 * DAY), model_digest="first")
    warm = replace(job, start=Start(first.id, "first", 25))
    second = replace(fit, answers=(warm.id,), window=replace(fit.window, start=AT + 3 * DAY, end=AT + 6 * DAY))
    served = replace(release, candidate=second.id)
    history = History(known={each.id: each for each in (job, first, warm, second)}, releases=[served])
    assert history.learned == (AT, AT + 9 * DAY)
    assert history.size(second, 100) == 1.25
    assert history.size(first, 100) == 1
    assert history.warm_starts == 1
