"""Pilots compete: what each cycle's selection does where things go wrong, and which fits are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from replays import InlineModels, desk, replay
from tables import configure, orders, write_policy
from whole_cycle import whole_cycle

from hpcretrain import backtest
from hpcretrain.adapters.table import MemoryTable
from hpcretrain.errors import TrainingError
from hpcretrain.history import History
from hpcretrain.policy.select import Round
from hpcretrain.ports import Rows, Trained
from hpcretrain.records import (
    Candidate,
    Closing,
    Finding,
    Job,
    Outcome,
    PriorityClass,
    Purpose,
    Release,
    Stage,
    Verdict,
)
from hpcretrain.steps.contest import earlier_rounds, recent_fits


class Failing(InlineModels):
    """Pilots of some windows fail."""

    windows: tuple[str, ...] = ("recent",)

    def fit(self, job: Job, rows: Rows) -> Trained:
        if job.purpose is Purpose.PILOT and job.window.name in self.windows:
            raise TrainingError(f"no {job.window.name} today")
        return super().fit(job, rows)


class Together(InlineModels):
    """Keeps which jobs were ordered in one call."""

    def train(
        self, orders: Sequence[tuple[Job, Rows]], done: Callable[[int], None] = lambda _: None
    ) -> list[Trained | TrainingError]:
        self.calls = [*getattr(self, "calls", []), [job for job, _ in orders]]
        return super().train(orders, done)


class AllFailing(Failing):
    windows = ("all", "recent", "decayed")


def replayed(path: Path, models: type[InlineModels]) -> History:
    with desk(configure(path, orders()), path / "home") as (at, clock, last):
        assert isinstance(at.table, MemoryTable)
        at.trainer = at.predictor = models(at.terms, at.table, path / "models")
        backtest.replay(at, clock, last, lambda *_: None)
        return at.history


def test_the_others_compete_where_one_pilot_fails(tmp_path: Path) -> None:
    history = replayed(tmp_path, Failing)
    selections = [verdict for verdict in history.verdicts if verdict.stage is Stage.SELECTION]
    assert selections
    for verdict in selections:
        failed = next(finding for finding in verdict.findings if finding.check == "training:recent")
        assert (failed.outcome, failed.reason) == (Outcome.ERROR, "no recent today")
        assert not [finding for finding in verdict.findings if finding.check.startswith("contest:recent")]
    assert [release for release in history.releases[1:] if release.window.name != "recent"]


def test_what_does_not_depend_on_each_other_is_ordered_together_in_the_class_of_its_decision(tmp_path: Path) -> None:
    with desk(configure(tmp_path, orders()), tmp_path / "home") as (at, clock, last):
        assert isinstance(at.table, MemoryTable)
        models = at.trainer = at.predictor = Together(at.terms, at.table, tmp_path / "models")
        backtest.replay(at, clock, last, lambda *_: None)
        first, *calls = models.calls
        assert [(job.purpose, job.priority_class) for job in first] == [
            (Purpose.JUDGE, PriorityClass.BACKGROUND),
            (Purpose.REFIT, PriorityClass.BACKGROUND),
        ]
        expected = []
        for cycle in at.history.cycles:
            if cycle.run:
                assert {job.priority_class for job in cycle.jobs} == {cycle.run.priority_class}
                expected += [
                    jobs
                    for purpose in (Purpose.PILOT, Purpose.REFIT)
                    if (jobs := [job for job in cycle.jobs if job.purpose is purpose])
                ]
        assert calls == expected
        assert {len(jobs) for jobs in calls} >= {1, 3}
        count = len(models.calls)
        arms = backtest.compare_arms(at, clock, last, lambda *_: None)
        [ungated] = models.calls[count:]
        assert len(ungated) == len(arms.periods) - 1
        assert {job.priority_class for job in ungated} == {PriorityClass.BACKGROUND}


def test_a_cycle_ends_where_all_pilots_fail_and_the_champion_stays(tmp_path: Path) -> None:
    history = replayed(tmp_path, AllFailing)
    ran = [cycle for cycle in history.cycles if cycle.run]
    assert ran
    for cycle in ran:
        assert [verdict.outcome for verdict in cycle.verdicts] == [Outcome.ERROR]
        assert {finding.reason for finding in cycle.verdicts[0].findings} == {
            f"no {name} today" for name in AllFailing.windows
        }
        assert cycle.review is not None
        assert cycle.review.closing is Closing.REJECTED
    assert len(history.releases) == 1


def test_what_the_winner_is_averaged_with_are_fits_of_the_last_releases(tmp_path: Path) -> None:
    history = replay(configure(tmp_path, orders()), tmp_path / "home")
    averages = [each for cycle in history.cycles for each in cycle.candidates.values() if each.members]
    assert averages
    for average in averages:
        fits = [history.known[member] for member in average.members]
        assert all(isinstance(fit, Candidate) and not fit.members for fit in fits)
        assert fits[0].at == average.at
        assert all(fit.at < average.at for fit in fits[1:])


def test_the_full_fit_is_drawn_and_averaged_as_the_winner_was_but_reads_more(tmp_path: Path) -> None:
    policy = write_policy(tmp_path, pilot_rows="300", full_rows="2_000")
    history = replay(configure(tmp_path, orders(), **policy), tmp_path / "home")
    released = [cycle for cycle in history.cycles if cycle.release and cycle.release.candidate != cycle.release.twin]
    assert released
    members = 0
    for cycle in released:
        assert cycle.release is not None
        twin, full = (history.known[name] for name in (cycle.release.twin, cycle.release.candidate))
        assert isinstance(twin, Candidate)
        assert isinstance(full, Candidate)
        assert full.window.name == twin.window.name
        assert full.members[1:] == twin.members[1:]
        members += len(full.members)
        assert twin.window.rows <= 330 < full.window.rows
    assert members


def test_averages_do_not_compete_on_rows_that_the_champion_has_learned(tmp_path: Path) -> None:
    # Batches a day long and no cooldown: the champion is refitted on rows of a day ago.
    policy = write_policy(
        tmp_path, cooldown_batches="0", threshold="1", withdraw_below="0", fits_per_30d="999.0", alpha="0.45",
        guard_margin="1.0",
    )  # fmt: skip
    days = {"backtest__observe_every": 'observe_every = "1d"'}
    history = replay(configure(tmp_path, orders(rows=6_000), **days, **policy), tmp_path / "home")
    seen = set()
    folded = History()
    for record in history.known.values():
        if record.kind == "verdict" and record.stage is Stage.SELECTION and record.holdout is not None:  # type: ignore[attr-defined]
            learned = folded.learned[1] > record.holdout.start  # type: ignore[attr-defined]
            averaged = [finding for finding in record.findings if finding.check.endswith(", averaged")]  # type: ignore[attr-defined]
            assert learned != bool(averaged)
            seen.add(learned)
        folded.add(record)
    assert seen == {True, False}


RECORDS = whole_cycle()


def test_a_fit_that_was_rolled_back_is_not_averaged_with() -> None:
    place = next(
        place for place, record in enumerate(RECORDS) if isinstance(record, Release) and record.previous is None
    )
    assert place
    served, back = History.fold(RECORDS[:-2]), History.fold(RECORDS)
    names = {record.id: record for record in RECORDS if isinstance(record, Candidate)}
    first, fit = (next(each for each in names.values() if each.model_digest == name) for name in ("first", "fit"))
    assert recent_fits(served, 2) == (fit, first)
    assert recent_fits(served, 1) == (fit,)
    assert recent_fits(back, 2) == (first,)


def test_what_an_average_has_learned_is_what_its_members_have() -> None:
    served = History.fold(RECORDS[:-2])
    windows = [record.window for record in RECORDS if isinstance(record, Candidate)]
    assert served.learned == (min(w.start for w in windows), max(w.end for w in windows))


def test_an_earlier_selection_on_rows_that_are_held_out_now_does_not_count() -> None:
    selection = next(record for record in RECORDS if isinstance(record, Verdict) and record.stage is Stage.SELECTION)
    assert selection.holdout is not None
    measured = Finding(check="contest:all", outcome=Outcome.PASS, reason="all", observed=0.7)
    place = RECORDS.index(selection)
    history = History.fold([*RECORDS[:place], replace(selection, findings=(measured,))])
    end = selection.holdout.end
    assert earlier_rounds(history, end) == (Round({"all": 0.7}, selection.holdout.rows),)
    assert earlier_rounds(history, end - timedelta(seconds=1)) == ()
