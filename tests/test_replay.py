"""The cycle on tables that change: it asks, judges, releases, watches and reviews; and bad data stops nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from replays import InlineModels, desk, replay
from tables import REGRESSION, configure, demand, orders, write_policy

from hpcretrain import backtest
from hpcretrain.adapters.table import MemoryTable
from hpcretrain.history import History
from hpcretrain.ports import Rows, Trained
from hpcretrain.records import Action, Candidate, Closing, Family, Job, Outcome, Purpose, ReleaseKind, Stage

BATCH = slice("2024-03-07", "2024-03-13")
"""The days of one batch: it ends on 14 March."""


def test_when_the_world_changes_a_better_model_is_released_watched_and_reviewed(tmp_path: Path) -> None:
    history = replay(configure(tmp_path, orders()), tmp_path / "home")
    assert history.cycles
    first = next(cycle for cycle in history.cycles if cycle.release)
    assert set(first.request.triggers) & {"performance", "calibration"}
    assert first.run is not None
    selection, gate, refit = first.verdicts
    assert [each.stage for each in first.verdicts] == [Stage.SELECTION, Stage.GATE, Stage.REFIT]
    assert {each.outcome for each in first.verdicts} == {Outcome.PASS}
    assert first.release is not None
    assert first.release.twin == selection.candidate == gate.candidate
    assert first.release.candidate == refit.candidate
    assert first.watches
    assert first.review is not None
    assert first.review.closing is Closing.KEPT
    assert first.review.gain.observed is not None
    assert float(first.review.gain.observed) > 0


def test_a_regression_is_retrained_as_well(tmp_path: Path) -> None:
    history = replay(configure(tmp_path, demand(), **REGRESSION), tmp_path / "home")
    kinds = [release.release_kind for release in history.releases]
    assert kinds[0] is ReleaseKind.FIRST
    assert ReleaseKind.PROMOTION in kinds


def test_batches_too_small_to_speak_alone_are_heard_together(tmp_path: Path) -> None:
    config = configure(tmp_path, orders(), backtest__observe_every='observe_every = "1d"')
    history = replay(config, tmp_path / "home")
    assert max(slot.rows for slot in (s.slot for s in history.signals)) < 600
    declines = [cycle for cycle in history.cycles if "performance" in cycle.request.triggers and cycle.release]
    assert declines


def test_a_holdout_does_not_grow_with_history_and_a_release_has_learned_the_newest_rows(tmp_path: Path) -> None:
    config = configure(tmp_path, orders())
    with desk(config, tmp_path / "home") as (at, clock, last):
        backtest.replay(at, clock, last, lambda *_: None)
        batches, step = at.terms.policy.gate.holdout_batches, at.terms.config.backtest.observe_every
        delay = at.table.label_delay
        cycles = at.history.cycles
    gates = [verdict for cycle in cycles for verdict in cycle.verdicts if verdict.stage is Stage.GATE]
    assert gates
    for verdict in gates:
        assert verdict.holdout is not None
        assert verdict.holdout.end - verdict.holdout.start <= batches * step
    for release in [cycle.release for cycle in cycles if cycle.release]:
        assert release.window.end == release.at - delay


def test_what_judges_was_learned_by_neither_model(tmp_path: Path) -> None:
    history = replay(configure(tmp_path, orders()), tmp_path / "home")
    serving = history.releases[0]
    for cycle in history.cycles:
        for verdict in cycle.verdicts:
            assert verdict.holdout is not None
            if verdict.stage is Stage.SELECTION:
                assert all(
                    job.window.end <= verdict.holdout.start for job in cycle.jobs if job.purpose is Purpose.PILOT
                )
            if verdict.stage is Stage.GATE:
                judged = history.known[verdict.candidate]
                assert isinstance(judged, Candidate)
                members = [history.known[member] for member in judged.members] or [judged]
                assert all(fit.window.end <= verdict.holdout.start for fit in members if isinstance(fit, Candidate))
                assert serving.window.end <= verdict.holdout.start
        serving = cycle.rollback or cycle.release or serving


def test_a_holdout_never_reaches_behind_what_the_champion_learned(tmp_path: Path) -> None:
    # Batches a day long and no cooldown: the champion is refitted on rows of a day ago, and a holdout wants four.
    policy = write_policy(
        tmp_path,
        cooldown_batches="0",
        looks="1",
        holdout_batches="4",
        min_rows="50",
        threshold="1",
        withdraw_below="0",
        fits_per_30d="999.0",
        alpha="0.45",
        guard_margin="1.0",
    )
    history = replay(
        configure(tmp_path, orders(rows=6_000), backtest__observe_every='observe_every = "1d"', **policy),
        tmp_path / "home",
    )
    assert sum(cycle.release is not None for cycle in history.cycles) >= 2
    serving = history.releases[0]
    short = 0
    for cycle in history.cycles:
        for verdict in cycle.verdicts:
            if verdict.stage is Stage.GATE:
                assert verdict.holdout is not None
                assert serving.window.end <= verdict.holdout.start
                short += verdict.holdout.start == serving.window.end
        serving = cycle.rollback or cycle.release or serving
    assert short, "the champion's training should have cut some holdout short"


def test_a_request_made_while_a_release_is_watched_waits_and_the_watch_goes_on(tmp_path: Path) -> None:
    policy = write_policy(tmp_path, threshold="1", withdraw_below="0", cooldown_batches="0", looks="3")
    history = replay(configure(tmp_path, orders(), **policy), tmp_path / "home")
    released = [cycle for cycle in history.cycles if cycle.release]
    assert released
    early = [cycle for cycle in history.cycles if any(d.outcome is Outcome.WAIT for d in cycle.decisions)]
    assert early, "a request should have come while a release was being watched"
    for cycle in released:
        assert cycle.review is None or [look.look for look in cycle.watches][-1] == 3
    assert released[0].review is not None
    for waiting in early:
        seen = {f.check for d in waiting.decisions for f in d.findings if f.outcome is Outcome.WAIT}
        assert seen <= {"watch", "holdout_rows", "cooldown", "budget"}


def coarse() -> pd.DataFrame:
    """Orders with so few and so round features that many rows are alike by chance."""
    table = orders(rows=14_000)
    return table.assign(amount=(table["amount"] * 4).round() / 4).drop(columns=["noise", "country"])


def test_rows_that_are_alike_by_chance_are_no_leakage_however_long_history_grows(tmp_path: Path) -> None:
    history = replay(configure(tmp_path, coarse()), tmp_path / "home")
    checks = [
        finding
        for verdict in history.verdicts
        if verdict.stage is Stage.GATE
        for finding in verdict.findings
        if finding.check == "leakage"
    ]
    assert len(checks) >= 3
    assert max(float(check.observed or 0) for check in checks) > 0.3
    assert {check.outcome for check in checks} == {Outcome.PASS}


def test_rows_of_the_training_that_come_back_are_leakage(tmp_path: Path) -> None:
    table = orders()
    late = table.index[len(table) * 2 // 3 :]
    # From there on every other row repeats one of some weeks before.
    copies = late[::2]
    columns = [column for column in table if column != "time"]
    table.loc[copies, columns] = table.loc[copies - 1_500, columns].to_numpy()
    policy = write_policy(tmp_path, threshold="1", withdraw_below="0", duplicate_slack="0.9")
    history = replay(configure(tmp_path, table, **policy), tmp_path / "home")
    gates = [verdict for verdict in history.verdicts if verdict.stage is Stage.GATE]
    failed = [finding for verdict in gates for finding in verdict.findings if finding.check == "leakage"]
    assert Outcome.FAIL in {finding.outcome for finding in failed}


def test_rows_that_judge_again_are_paid_for(tmp_path: Path) -> None:
    policy = write_policy(
        tmp_path, threshold="1", withdraw_below="0", cooldown_batches="1", cooldown_growth="1.0", fits_per_30d="99.0",
        alpha="0.0001",
    )  # fmt: skip
    history = replay(configure(tmp_path, orders(rows=8_000, change_at=None), **policy), tmp_path / "home")
    uses = [verdict.use for verdict in history.verdicts if verdict.stage is Stage.GATE]
    holdouts = [verdict.holdout for verdict in history.verdicts if verdict.stage is Stage.GATE]
    assert max(uses) >= 2
    for number, (use, holdout) in enumerate(zip(uses, holdouts, strict=True)):
        assert holdout is not None
        overlapping = [earlier for earlier in holdouts[:number] if earlier is not None and earlier.end > holdout.start]
        assert use == 1 + len(overlapping)


class BadRefits(InlineModels):
    """Every refit but the first champion's learns labels turned round."""

    def fit(self, job: Job, rows: Rows) -> Trained:
        if job.purpose is Purpose.REFIT and job.at > pd.Timestamp("2024-02-01", tz="UTC"):
            labels = self.table._labels
            self.table._labels = 1 - labels
            try:
                return super().fit(job, rows)
            finally:
                self.table._labels = labels
        return super().fit(job, rows)


def test_a_refit_that_is_worse_than_its_judged_twin_is_not_released_but_the_twin_is(tmp_path: Path) -> None:
    with desk(configure(tmp_path, orders()), tmp_path / "home") as (at, clock, last):
        assert isinstance(at.table, MemoryTable)
        at.trainer = at.predictor = BadRefits(at.terms, at.table, tmp_path / "models")
        backtest.replay(at, clock, last, lambda *_: None)
        released = [cycle for cycle in at.history.cycles if cycle.release]
        assert released
        for cycle in released:
            assert [verdict.outcome for verdict in cycle.verdicts] == [Outcome.PASS, Outcome.PASS, Outcome.FAIL]
            assert cycle.release is not None
            assert cycle.release.candidate == cycle.release.twin == cycle.verdicts[1].candidate


def test_what_is_served_is_the_champion_of_each_moment(tmp_path: Path) -> None:
    with desk(configure(tmp_path, orders()), tmp_path / "home") as (at, clock, last):
        backtest.replay(at, clock, last, lambda *_: None)
        clock.moment = last + timedelta(days=2)
        rows = at.table.labeled(at.terms.reference_until, last)
        served = backtest.served(at, rows)
        releases = at.history.releases
        assert len(releases) >= 2
        done = 0
        for release, end in zip(releases, [*(later.at for later in releases[1:]), last], strict=True):
            part = at.table.labeled(release.at, end)
            assert np.array_equal(served[done : done + len(part)], at.predictor.predict(release.model_digest, part))
            done += len(part)
        assert done == len(rows)


def test_the_same_replay_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    config = configure(tmp_path, orders(rows=6_000, minutes=20))
    one, other = (replay(config, tmp_path / name) for name in ("one", "other"))
    assert [record.body for record in one.known.values()] == [record.body for record in other.known.values()]


@pytest.mark.parametrize("delay", ["0d", "1d", "10d"])
def test_a_replay_taken_up_again_and_again_gives_the_same_bytes(delay: str, tmp_path: Path) -> None:
    config = configure(tmp_path, orders(rows=8_000, minutes=16), data__label_delay=f'label_delay = "{delay}"')
    whole = replay(config, tmp_path / "whole")
    for days in (0, 6, 7, 20, 29, 36, 100):
        pieces = replay(config, tmp_path / "pieces", pd.Timestamp("2024-02-01", tz="UTC") + pd.Timedelta(days=days))
    assert [record.body for record in pieces.known.values()] == [record.body for record in whole.known.values()]


def damaged(damage: Callable[[pd.DataFrame], pd.DataFrame], folder: Path, change_at: float | None = 0.3) -> History:
    """The history of a table one batch of which (ending on 14 March) is damaged."""
    table = orders(change_at=change_at).set_index("time", drop=False).astype(object)
    before = table[table["time"] < pd.Timestamp("2024-03-07", tz="UTC")]
    batch = table.loc[BATCH].copy()
    after = table[table["time"] >= pd.Timestamp("2024-03-14", tz="UTC")]
    return replay(configure(folder, pd.concat([before, damage(batch), after])), folder / "home")


def set_column(name: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def damage(batch: pd.DataFrame) -> pd.DataFrame:
        batch[name] = value
        return batch

    return damage


def set_some(name: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def damage(batch: pd.DataFrame) -> pd.DataFrame:
        batch.loc[batch.index[::5], name] = value
        return batch

    return damage


def all_null(batch: pd.DataFrame) -> pd.DataFrame:
    batch[["amount", "days", "noise", "country", "late"]] = None
    return batch


DAMAGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str, int]] = {
    "empty": (lambda batch: batch.iloc[:0], "rows", 0),
    "all null": (all_null, "missing:amount", 0),
    "one column null": (set_column("days", None), "missing:days", 0),
    "new categories": (set_column("country", "XX"), "category:country", 0),
    "a constant column": (set_column("noise", 1.5), "constant:noise", 0),
    "duplicates": (lambda batch: pd.concat([batch, batch, batch.iloc[:200]]), "duplicates", 0),
    "a changed type": (set_column("amount", "12 EUR"), "type:amount", 0),
    "text in some numbers": (set_some("days", "many"), "type:days", 0),
    "infinite values": (set_some("noise", "inf"), "infinite:noise", 0),
    "another unit": (set_column("noise", 4.2e7), "range:noise", 0),
    "far more rows": (lambda batch: pd.concat([batch] * 5), "volume", 0),
    "one class": (set_column("late", 1), "label_constant", 0),
    "no labels": (set_column("late", None), "label_missing", 0),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_bad_data_gives_findings_and_no_release_and_the_replay_goes_on(name: str, tmp_path: Path) -> None:
    damage, check, later = DAMAGES[name]
    history = damaged(damage, tmp_path)
    seen_at = pd.Timestamp("2024-03-14", tz="UTC") + later * pd.Timedelta(days=7)
    quality = [
        record
        for record in history.known.values()
        if record.kind == "signal" and record.at == seen_at and record.family is Family.DATA_QUALITY  # type: ignore[attr-defined]
    ]
    found = [(record.name, record.finding.outcome) for record in quality]  # type: ignore[attr-defined]
    assert (check, Outcome.FAIL) in found or (check, Outcome.INSUFFICIENT) in found, found
    assert not [release for release in history.releases if release.at == seen_at]
    for decision in (d for cycle in history.cycles for d in cycle.decisions if d.at == seen_at):
        assert decision.action in (Action.HOLD, Action.WAIT, Action.DROP)
    assert history.slots[-1][1] > seen_at + pd.Timedelta(days=28)


def test_rows_of_a_bad_batch_are_never_learned(tmp_path: Path) -> None:
    history = damaged(set_column("noise", 4.2e7), tmp_path, change_at=0.6)
    bad = [span for span in history.quarantine if span[1] == pd.Timestamp("2024-03-14", tz="UTC")]
    assert bad
    jobs = [job.window for cycle in history.cycles for job in cycle.jobs]
    later = [window for window in jobs if window.start < bad[0][1] < window.end]
    assert later
    assert all(bad[0] in window.excluded for window in later)
    times = orders(change_at=0.6)["time"]
    for window in later:
        inside = (times >= window.start) & (times < window.end)
        assert window.population == (inside & ~((times >= bad[0][0]) & (times < bad[0][1]))).sum()
