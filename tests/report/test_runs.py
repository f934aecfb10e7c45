from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from whole_cycle import AT, whole_cycle

from hpcretrain.history import History
from hpcretrain.records import Candidate, Closing, Finding, Job, Outcome, Purpose, Record, Review, Stage, Verdict
from hpcretrain.report.lineage import cycle_of, lineage
from hpcretrain.report.runs import pages
from hpcretrain.report.story import stories

RECORDS = whole_cycle()
WHOLE = History.fold(RECORDS)
CYCLE = WHOLE.cycles[0].request.id
BASELINE = RECORDS[0].id


def until(kind: type[Record], occurrence: int) -> History:
    """The history up to a record of a kind, with it."""
    places = [place for place, record in enumerate(RECORDS) if isinstance(record, kind)]
    return History.fold(RECORDS[: places[occurrence] + 1])


def test_every_record_goes_back_to_its_request_or_the_baseline() -> None:
    # What policy is in force goes back to the baseline whenever it is changed.
    of_policy = {"activation", "proposal"}
    asked = {each.id for each in RECORDS if each.kind == "proposal"}
    answered = {each.id for each in RECORDS if asked & set(each.answers)}
    cycle = [each for each in RECORDS[9:] if each.kind not in of_policy and not (asked | answered) & set(each.answers)]
    assert {cycle_of(WHOLE, record) for record in RECORDS[:7]} == {BASELINE}
    assert {cycle_of(WHOLE, record) for record in cycle} == {CYCLE}


@pytest.mark.parametrize("number", [2, 3])
def test_the_lineage_of_a_cycles_jobs_names_decision_request_parent_and_digests(number: int) -> None:
    at = until(Job, number)
    job = next(record for record in reversed(at.known.values()) if isinstance(record, Job))
    told = lineage(at, job)
    assert told["request"] == told["cycle"] == CYCLE
    assert told["decision"] == at.cycles[0].decisions[0].id
    assert ("twin_verdict" in told) == (number == 3)
    assert (told["parent"], told["parent_release"]) == (at.releases[0].candidate, at.releases[0].id)
    assert (told["config_digest"], told["policy_digest"], told["data_digest"]) == ("c", "p", "d")


def test_the_first_job_has_no_parent() -> None:
    first = next(record for record in RECORDS if isinstance(record, Job))
    told = lineage(until(Job, 0), first)
    assert "parent" not in told
    assert told["baseline"] == told["cycle"] == BASELINE


def outcomes(history: History, cycle: str) -> list[tuple[str, str]]:
    return [(page.tags["outcome"], page.status) for page in pages(history, cycle)]


def test_a_cycle_goes_from_trained_to_rolled_back() -> None:
    assert outcomes(until(Candidate, 2), CYCLE) == [("trained", "RUNNING")]
    member, passed = ("member", "FINISHED"), ("passed", "FINISHED")
    assert outcomes(until(Verdict, 0), CYCLE) == [("trained", "RUNNING"), member, passed]
    released = ("released", "FINISHED")
    assert outcomes(History.fold(RECORDS[:-3]), CYCLE) == [("released", "RUNNING"), member, passed, member, released]
    ended = ["rolled_back", "member", "passed", "member", "rolled_back"]
    assert [outcome for outcome, _ in outcomes(WHOLE, CYCLE)] == ended
    assert outcomes(WHOLE, CYCLE)[0] == ("rolled_back", "FINISHED")


def test_pages_say_when_a_model_served() -> None:
    first, _, champion = pages(WHOLE, BASELINE)
    day = WHOLE.releases[1].at - AT
    assert champion.served == ((AT, AT + day), (AT + 2 * day, None))
    assert "Served 2024-01-01 00:00 to 2024-01-08 00:00, 2024-01-15 00:00 to now (UTC)." in champion.words
    assert first.judged == WHOLE.releases[0].twin
    assert pages(WHOLE, CYCLE)[-1].served == ((AT + day, AT + 2 * day),)


def test_a_cycle_tells_its_story_in_order() -> None:
    words = pages(WHOLE, CYCLE)[0].words
    told = [words.index(record.id) for record in WHOLE.known.values() if record.id in words and record.id != CYCLE]
    assert told == sorted(told)
    assert len(told) == 13
    assert words.startswith("Released, and rolled back after the watch.")


def closed(verdict: Verdict, before: int) -> History:
    """A cycle that ends with a verdict that says no."""
    review = Review(
        model="m", at=verdict.at, answers=(CYCLE, verdict.id), closing=Closing.REJECTED, cost_mrow_passes=1.0,
        gain=Finding(check="gain", outcome=Outcome.PASS, reason="nothing was released"),
    )  # fmt: skip
    return History.fold([*RECORDS[:before], verdict, review])


def test_a_rejected_candidate_says_which_check_said_no() -> None:
    place = next(place for place, record in enumerate(RECORDS) if isinstance(record, Verdict))
    finding = Finding(check="superior:auc", outcome=Outcome.FAIL, reason="a | b", observed=0.5, limit=0.05)
    history = closed(replace(RECORDS[place], outcome=Outcome.FAIL, findings=(finding,)), place)  # type: ignore[arg-type]
    cycle, _, candidate = pages(history, CYCLE)
    assert (cycle.tags["outcome"], cycle.status, cycle.tags["verdict"]) == ("rejected", "FINISHED", "fail")
    assert (candidate.tags["outcome"], candidate.status) == ("rejected", "FINISHED")
    assert "| superior:auc | fail | 0.5 | 0.05 | a \\| b |" in candidate.words


def test_a_pilot_that_lost_says_so() -> None:
    selection = next(record for record in RECORDS if isinstance(record, Verdict))
    place = next(place for place, record in enumerate(RECORDS) if record.id == selection.answers[0])
    loser = RECORDS[place]
    assert isinstance(loser, Candidate)
    winner = replace(loser, model_digest="other")
    chosen = replace(selection, answers=(loser.id, winner.id, selection.answers[-1]), candidate=winner.id)
    history = History.fold([*RECORDS[: place + 1], winner, chosen])
    assert outcomes(history, CYCLE) == [("trained", "RUNNING"), ("not_chosen", "FINISHED"), ("passed", "FINISHED")]


def test_a_failed_training_makes_a_failed_page_and_a_failed_cycle() -> None:
    place = RECORDS.index(
        next(record for record in RECORDS if isinstance(record, Job) and record.purpose is Purpose.PILOT)
    )
    job = RECORDS[place]
    place += 1
    finding = Finding(check="training", outcome=Outcome.ERROR, reason="ValueError: no")
    verdict = Verdict(
        model="m", at=job.at, answers=(job.id, WHOLE.releases[0].id), stage=Stage.SELECTION, candidate=job.id,
        twin=None, outcome=Outcome.ERROR, holdout=None, use=0, findings=(finding,), readings=(),
    )  # fmt: skip
    cycle, failure = pages(closed(verdict, place), CYCLE)
    assert cycle.status == failure.status == "FAILED"
    assert failure.id == job.id
    assert "ValueError: no" in failure.words


def test_the_page_of_an_average_names_each_member_and_its_rows() -> None:
    page = pages(WHOLE, CYCLE)[-1]
    average = WHOLE.known[page.id]
    assert isinstance(average, Candidate)
    assert page.name == "2024-01-08 refit, all, average of 2"
    assert "Average of 2 fits" in page.words
    for member in average.members:
        (line,) = (line for line in page.words.splitlines() if f"`{member}`" in line)
        assert "2024-01-01 00:00 to 2024-01-02 00:00 UTC, 10 rows; digest `d`" in line


def test_the_release_of_an_average_tells_the_window_of_each_fit() -> None:
    (story,) = stories(WHOLE, lambda job: 1.0, ZoneInfo("UTC"))
    released = next(step for step in story.steps if step.title == "Released")
    assert released.text == "The refit, averaged with 1 earlier fit, serves from now on."
    rows = "“all”: 10 rows, 1 Jan 2024"
    assert released.facts == (("Model", "refit, the average of 2 fits"), ("Fresh fit", rows), ("Earlier fit", rows))
