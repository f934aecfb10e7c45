"""A home that is advanced by short runs: none waits, each can be cut short, and the records are those of a replay."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest
from lives import Home, Killed, mortal, slowly
from replays import replay
from tables import configure, orders

from hpcretrain.adapters.ledger import FileLedger, verify
from hpcretrain.history import History
from hpcretrain.records import Closing, Outcome, ReleaseKind

TABLE = orders(rows=8_000, minutes=16)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configure(tmp_path_factory.mktemp("live"), TABLE)


@pytest.fixture(scope="module")
def replayed(config: Path, tmp_path_factory: pytest.TempPathFactory) -> History:
    history = replay(config, tmp_path_factory.mktemp("replayed") / "home")
    assert {release.release_kind for release in history.releases} >= {ReleaseKind.FIRST, ReleaseKind.PROMOTION}
    return history


def test_short_runs_at_each_batch_make_the_records_of_a_replay(config: Path, replayed: History, tmp_path: Path) -> None:
    home = Home(config, tmp_path / "home")
    now = home.until
    while now <= home.last:
        stand = home.advance(now)
        assert stand.next == now + home.step
        assert not home.advance(now).ticks, "what is done is not done again"
        now += home.step
    assert list(home.history().known) == list(replayed.known)


def test_a_home_that_was_left_alone_catches_up_to_the_same_records(
    config: Path, replayed: History, tmp_path: Path
) -> None:
    home = Home(config, tmp_path / "home")
    count = (home.last - home.until) // home.step
    assert len(home.advance(home.last + HOUR).ticks) == count
    caught_up, known = home.history(), replayed
    assert [each.request.id for each in caught_up.cycles][:1] == [each.request.id for each in known.cycles][:1]
    assert [each.model_digest for each in caught_up.releases[:2]] == [each.model_digest for each in known.releases[:2]]
    assert all(release.at <= home.last + HOUR for release in caught_up.releases)


def test_batches_are_observed_while_a_training_is_under_way_and_its_model_serves_when_it_is_finished(
    config: Path, replayed: History, tmp_path: Path
) -> None:
    home = Home(config, tmp_path / "home")
    asked: dict[str, int] = {}
    now, seen = home.until, []

    while now <= home.last or seen[-1]:
        stand = home.advance(now, slowly(asked, 3))
        seen.append(len(stand.awaits))
        now += home.step / 4
    history = home.history()
    first = next(cycle for cycle in history.cycles if cycle.release)
    same = next(cycle for cycle in replayed.cycles if cycle.release)
    assert max(seen) == 3, "pilots wait together"
    assert first.run is not None
    assert first.release is not None
    assert same.release is not None
    observed = [slot for slot in history.slots if first.run.at < slot[1] <= first.release.at]
    assert observed, "ticks went on meanwhile"
    # What was asked, judged and trained is the same; only that it served later.
    assert [each.id for each in first.verdicts] == [each.id for each in same.verdicts]
    assert first.release.model_digest == same.release.model_digest
    assert first.release.at > same.release.at
    assert all(each.outcome is Outcome.PASS for each in verify(home.place / "ledger.jsonl"))


@pytest.mark.parametrize("seed", range(4))
def test_runs_that_are_killed_at_any_write_make_the_same_records(
    config: Path, replayed: History, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    home, now, killed = Home(config, tmp_path / "home"), None, 0
    now = home.until

    while now <= home.last:
        for _ in range(3):
            try:
                home.advance(now, mortal(chance.randint(1, 12), chance.random() < 0.5))
                break
            except Killed:
                killed += 1
        home.advance(now)
        now += home.step
    assert killed > 5
    assert list(home.history().known) == list(replayed.known)
    kept = [cycle for cycle in home.history().cycles if cycle.review and cycle.review.closing is Closing.KEPT]
    confirmed = FileLedger(home.place / "ledger.jsonl", read_only=True).notes("release_confirmed")
    assert kept
    assert {note["serves"] for note in confirmed} == {release.id for release in home.history().releases}
