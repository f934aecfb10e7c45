"""A home that lives goes on: whatever arrives late, is refused, or is said twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from lives import Home, slowly
from replays import desk
from tables import configure, orders, write_policy
from test_people import ANN, APPROVALS, BOB, OWNER, TABLE, asks, begun, last

from hpcretrain import live
from hpcretrain.errors import SlurmError, TrainingError
from hpcretrain.messages import Verb
from hpcretrain.ports import Rows, Trained
from hpcretrain.records import Action, Closing, Job
from hpcretrain.steps.desk import Desk

HOUR = timedelta(hours=1)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    path = configure(folder, TABLE, **write_policy(folder, weight="0.0", fits_per_30d="1000.0", cooldown_growth="1.0"))
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text() + APPROVALS)
    return path


def late(config: Path, row: int) -> None:
    """A row arrives that belongs before others which were looked at."""
    more = TABLE.iloc[[row]].assign(time=TABLE["time"].iloc[row] + timedelta(minutes=1))
    pd.concat([TABLE, more]).sort_values("time").to_csv(config.parent / "table.csv", index=False)


def observe(home: Home, now: Any) -> live.Stand:
    with desk(home.config, home.place, lambda _: None, attended=True) as (at, clock, _):
        stand = live.Live(at, clock, lambda: now, lambda _: None).advance(live.Step.OBSERVE)
        at.ledger.close()  # type: ignore[attr-defined]
    return stand


def test_a_row_that_comes_after_a_batch_was_seen_changes_nothing_of_what_was_seen(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home")
    home.answer(now, asks(wanted="urgent"), ANN)
    assert not observe(home, home.until + 5 * home.step).ticks, "it waits for its triage, since a request is open"
    seen = home.history().assessment
    late(config, 2_500)
    stand = home.advance(home.until + 5 * home.step)
    assert len(stand.ticks) == 1
    assert home.history().assessment == seen


def test_what_was_read_before_its_rows_arrived_is_not_looked_at(config: Path, tmp_path: Path) -> None:
    home, _ = begun(config, tmp_path / "home")
    due = home.until + 5 * home.step
    with desk(config, home.place, lambda _: None, attended=True) as (at, clock, _):
        early = live.Live(at, clock, lambda: due + HOUR, lambda _: None, due - HOUR)
        assert early.stale()
        assert not early.advance().ticks
        assert early.answer(asks(wanted="standard"), OWNER).done, "people are answered all the same"
        assert at.history.slots[-1][1] == due - home.step
        assert at.history.cycles[-1].request.at < due
        at.ledger.close()  # type: ignore[attr-defined]
    assert len(home.advance(due + HOUR).ticks) == 1


def test_a_training_is_not_lost_behind_requests_that_come_to_nothing(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home")
    asked: dict[str, int] = {}
    slow = slowly(asked, 1_000)
    home.answer(now, asks(wanted="standard"), OWNER, slow)
    under_way = last(home).request.id
    for hours in (1, 3):
        home.answer(now + hours * HOUR, asks(), ANN, slow)
        assert home.answer(now + (hours + 1) * HOUR, asks(Verb.DENY, last(home).asks[-1].id), BOB, slow).done
        assert last(home).review is not None
    training = home.history().training
    assert training is not None
    assert training.request.id == under_way
    home.advance(now + 6 * HOUR)
    assert home.history().training is None
    assert home.history().cycles[0].verdicts


class Refused:
    """A trainer of which Slurm wants nothing."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def train(
        self, orders: Sequence[tuple[Job, Rows]], done: Callable[[int], None] = lambda _: None
    ) -> list[Trained | TrainingError]:
        raise SlurmError("sbatch: invalid account", "refused")


def refused(at: Desk) -> None:
    at.trainer = Refused(at.trainer)  # type: ignore[assignment]


def test_a_training_that_slurm_refuses_holds_up_neither_batches_nor_people(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home")
    assert home.answer(now, asks(wanted="standard"), OWNER, refused).done
    with pytest.raises(SlurmError, match="invalid account"):
        home.advance(home.until + 6 * home.step, refused)
    assert len(home.history().slots) == 6
    request = last(home).request.id
    assert home.answer(home.until + 6 * home.step + HOUR, asks(Verb.CANCEL, request), OWNER, refused).done
    assert not home.advance(home.until + 7 * home.step, refused).awaits


def test_what_was_denied_does_not_run_and_what_was_approved_counts_until_it_expires(tmp_path: Path) -> None:
    table = TABLE.copy()
    times = pd.to_datetime(table["time"], utc=True)
    week, until = timedelta(days=7), pd.Timestamp("2024-02-01", tz="UTC")
    # A week's batch that the data gate holds back.
    table.loc[(times >= until + 5 * week) & (times < until + 6 * week), "amount"] = float("nan")
    for verb in (Verb.DENY, Verb.APPROVE):
        folder = tmp_path / verb.value
        changes = write_policy(folder, weight="0.0", fits_per_30d="1000.0", cooldown_growth="1.0")
        path = configure(folder, table, **changes)
        (folder / "policy.toml").write_text((folder / "policy.toml").read_text() + APPROVALS)
        home = Home(path, tmp_path / f"home-{verb.value}")
        home.advance(home.until + 5 * home.step)
        home.answer(home.until + 6 * home.step - 2 * HOUR, asks(), ANN)
        ask = last(home).asks[-1]
        home.advance(home.until + 6 * home.step)
        assert last(home).decisions[-1].action is Action.HOLD
        assert home.answer(home.until + 6 * home.step + HOUR, asks(verb, ask.id), BOB).done
        home.advance(home.until + 8 * home.step)
        cycle = home.history().cycles[0]
        if verb is Verb.DENY:
            assert cycle.run is None
            assert cycle.review is not None
            assert cycle.review.closing is Closing.DROPPED
        else:
            assert cycle.run is None, "what was approved weeks ago is asked anew"
            assert len(cycle.asks) > 1


def test_a_key_is_its_sender_s_and_its_purpose_s(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home")
    asked: dict[str, int] = {}
    slow = slowly(asked, 1_000)
    assert not home.answer(now, asks(wanted="standard", key="k"), BOB_OF_NOWHERE, slow).done
    mine = home.answer(now + HOUR, asks(wanted="standard", key="k"), OWNER, slow)
    assert mine.done
    assert home.answer(now + HOUR, asks(Verb.CANCEL, mine.subject, key="k"), OWNER, slow).done
    assert last(home).review is not None


BOB_OF_NOWHERE = type(BOB)("mallory")


def test_a_stranger_leaves_nothing_in_the_ledger(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home")
    size = (home.place / "ledger.jsonl").stat().st_size
    notes = len(_notes(home))
    for number in range(20):
        assert not home.answer(now, asks(key=str(number)), BOB_OF_NOWHERE).done
    assert len(_notes(home)) == notes
    assert (home.place / "ledger.jsonl").stat().st_size == size


def _notes(home: Home) -> list[Any]:
    with desk(home.config, home.place, lambda _: None) as (at, _, _last):
        return at.ledger.notes()  # type: ignore[return-value]


def test_a_first_model_whose_reference_changes_says_what_to_do(tmp_path: Path) -> None:
    config = configure(tmp_path / "config", TABLE)
    home = Home(config, tmp_path / "home")
    asked: dict[str, int] = {}
    assert home.advance(home.until, slowly(asked, 1_000)).awaits
    late(config, 100)
    with pytest.raises(Exception, match="make a new home"):
        home.advance(home.until, slowly(asked, 1_000))


def test_a_release_that_was_asked_for_is_made_of_its_records(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    table = orders(rows=8_000, minutes=16)
    config = configure(folder, table, **write_policy(folder, weight="0.0"))
    (folder / "policy.toml").write_text((folder / "policy.toml").read_text() + APPROVALS)
    home, now = begun(config, tmp_path / "home", batches=8)
    home.answer(now, asks(wanted="standard"), OWNER)
    ask = last(home).asks[-1]
    more = table.iloc[[2_500]].assign(time=table["time"].iloc[2_500] + timedelta(minutes=1))
    pd.concat([table, more]).sort_values("time").to_csv(folder / "table.csv", index=False)
    answer = home.answer(now + HOUR, asks(Verb.APPROVE, ask.id), BOB)
    assert answer.done
    release = home.history().releases[-1]
    assert release.id in answer.reason
    assert release.candidate == ask.subject
