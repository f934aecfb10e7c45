from __future__ import annotations

from dataclasses import replace

import pytest
from whole_cycle import AT, DAY, position, whole_cycle

from hpcretrain.errors import LifeCycleError
from hpcretrain.history import History
from hpcretrain.lifecycle import FOLLOWS, OPENS, check
from hpcretrain.records import (
    KINDS,
    Action,
    Activation,
    Approval,
    Ask,
    Asked,
    Assessment,
    BreakGlass,
    Candidate,
    Closing,
    Decision,
    Family,
    GlassReview,
    Job,
    Outcome,
    Record,
    Release,
    ReleaseKind,
    RetrainRequest,
    Review,
    Signal,
    Verdict,
    Watch,
)


def refused(at: int, changed: Record, words: str) -> None:
    """The record at a place of the cycle, changed, is refused with these words, and the history stays as it was."""
    history = History.fold(whole_cycle()[:at])
    before = repr(history)
    with pytest.raises(LifeCycleError, match=words):
        history.add(changed)
    assert repr(history) == before


def test_the_table_names_every_kind_and_only_kinds() -> None:
    assert set(FOLLOWS) == set(KINDS)
    assert set().union(*FOLLOWS.values()) <= set(KINDS)
    assert {kind for kind, answered in FOLLOWS.items() if not answered} == OPENS


def test_a_whole_cycle_with_a_roll_back_is_legal() -> None:
    history = History.fold(whole_cycle())
    assert history.champion.candidate == history.releases[0].candidate
    assert history.cycles[0].review is not None
    assert history.watched is None
    assert history.open_cycle is None


@pytest.mark.parametrize("kind", sorted(set(KINDS) - OPENS))
def test_only_a_baseline_answers_nothing(kind: str) -> None:
    at = position(KINDS[kind])
    refused(at, replace(whole_cycle()[at], answers=()), "answers no record")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_record_may_answer_only_what_the_table_says(kind: str) -> None:
    records = whole_cycle()
    at = position(KINDS[kind], -1)
    for other in records[:at]:
        if other.kind not in FOLLOWS[kind]:
            refused(at, replace(records[at], answers=(other.id,)), "may not follow|refused")


def test_a_record_may_not_answer_the_unknown_the_future_or_another_model() -> None:
    at = position(Assessment)
    record = whole_cycle()[at]
    refused(at, replace(record, answers=("signal-0",)), "not in the ledger")
    refused(at, replace(record, at=AT), "before signal-")
    refused(at, replace(record, model="other"), "is about other")


def test_a_second_baseline_and_a_second_first_release_are_refused() -> None:
    records = whole_cycle()
    at = position(Release)
    refused(at, replace(records[0], at=AT + DAY), "a baseline already")
    refused(at + 2, replace(records[at], at=AT + 9 * DAY), "a model serves already")


def test_other_rules_take_effect_under_the_policy_in_force_and_no_other() -> None:
    records = whole_cycle()
    before = next(each for each in records if isinstance(each, Activation))
    renewed = replace(before, at=AT + DAY, answers=(before.id,), rule_version="next")
    History.fold([*records[:2], renewed])
    refused(2, replace(renewed, policy_digest="other"), "under the policy that is in force")
    refused(2, replace(renewed, rule_version=before.rule_version), "under the policy that is in force")
    after = records.index([each for each in records if isinstance(each, Activation)][-1]) + 1
    late = replace(renewed, at=records[after - 1].at)
    refused(after, late, "under the policy that is in force")


@pytest.mark.parametrize("action", [Action.WAIT, Action.HOLD, Action.DROP])
def test_no_job_follows_a_decision_that_did_not_order_one(action: Action) -> None:
    records = whole_cycle()
    at = position(Decision)
    decision = replace(records[at], action=action)  # type: ignore[call-arg]
    history = History.fold([*records[:at], decision])
    with pytest.raises(LifeCycleError, match="did not order a run"):
        check(replace(records[at + 1], answers=(decision.id,)), history.known)


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.PASS])
def test_nothing_is_released_or_refitted_on_a_verdict_that_did_not_pass(outcome: Outcome) -> None:
    records = whole_cycle()
    at = position(Verdict, 1)
    verdict = replace(records[at], outcome=outcome)  # type: ignore[call-arg]
    known = History.fold([*records[:at], verdict]).known
    promotion = records[position(Release, 1)]
    twin = records[position(Candidate, 3)]
    with pytest.raises(LifeCycleError, match="only a refit follows a verdict"):
        check(replace(records[at + 1], answers=(verdict.id,)), known)
    with pytest.raises(LifeCycleError, match="did not pass"):
        check(replace(promotion, answers=(verdict.id,), candidate=twin.id, twin=twin.id), known)  # type: ignore[call-arg]


def test_a_release_needs_a_verdict_on_the_very_candidate_and_on_its_twin() -> None:
    records = whole_cycle()
    at = position(Release, 1)
    selected, judged, checked = (records[position(Verdict, number)] for number in range(3))
    refused(at, replace(records[at], answers=(judged.id,)), "not found to stand in")
    refused(at, replace(records[at], answers=(checked.id,)), "has not passed the gate")
    refused(at, replace(records[at], answers=(selected.id, checked.id)), "has not passed the gate")
    refused(at, replace(records[at], candidate="candidate-0"), "is unknown")  # type: ignore[call-arg]


def test_only_a_winner_that_promised_a_gain_goes_to_the_gate() -> None:
    records = whole_cycle()
    at = position(Verdict)
    for change in ({"outcome": Outcome.FAIL}, {"candidate": records[position(Candidate, 2)].id}):
        selection = replace(records[at], **change)  # type: ignore[arg-type]
        known = History.fold([*records[:at], selection]).known
        gate = records[at + 1]
        with pytest.raises(LifeCycleError, match="only a winner that promised a gain"):
            check(replace(gate, answers=(*gate.answers[:2], selection.id)), known)
    refused(at + 1, replace(records[at + 1], answers=records[at + 1].answers[:2]), "was selected before")


def test_a_full_fit_follows_the_gate_and_not_the_selection() -> None:
    records = whole_cycle()
    at = position(Job, 3)
    refused(at, replace(records[at], answers=(records[position(Verdict)].id,)), "only a refit follows a verdict")


def test_an_average_answers_its_members_and_nothing_else() -> None:
    records = whole_cycle()
    at = position(Candidate, 3)
    average = records[at]
    refused(at, replace(average, members=average.answers[:1]), "candidates that it is made of")  # type: ignore[call-arg]
    refused(at, replace(average, members=()), "the one job that trained it")  # type: ignore[call-arg]


def test_a_roll_back_needs_a_watch_that_failed() -> None:
    records = whole_cycle()
    at = position(Watch)
    watch = replace(records[at], outcome=Outcome.WAIT)  # type: ignore[call-arg]
    known = History.fold([*records[:at], watch]).known
    with pytest.raises(LifeCycleError, match="a watch that failed"):
        check(replace(records[at + 1], answers=(watch.id,)), known)


def test_rejections_are_counted_until_a_release_and_a_roll_back_is_one() -> None:
    records = whole_cycle()
    history = History.fold(records[: position(Verdict, 1) + 1])
    request, judged = records[position(RetrainRequest)], records[position(Verdict, 1)]
    rejected = replace(
        records[position(Review)], at=judged.at, answers=(request.id, judged.id), closing=Closing.REJECTED
    )  # type: ignore[call-arg]
    history.add(rejected)
    assert history.rejections == 1
    for record in records[position(Verdict, 1) + 1 : position(Release, 1) + 1]:
        history.add(record)
    assert history.rejections == 0
    assert History.fold(records).rejections == 1


def test_an_ask_has_one_answer_and_what_was_denied_or_is_something_else_does_not_serve() -> None:
    records = whole_cycle()
    asked, said, released = position(Ask), position(Approval), position(Release, 1)
    ask, approval, release = records[asked], records[said], records[released]
    refused(released, replace(approval, at=release.at + DAY), "has its answer already")
    for other, words in (
        ((ask, replace(approval, outcome=Outcome.FAIL)), "denies it"),  # type: ignore[call-arg]
        ((replace(ask, model_digest="other"), approval), "approves something else"),  # type: ignore[call-arg]
        ((replace(ask, subject="candidate-0"), approval), "approves something else"),  # type: ignore[call-arg]
    ):
        told = replace(other[1], answers=(other[0].id,))
        known = History.fold([*records[:asked], other[0], told]).known
        with pytest.raises(LifeCycleError, match=words):
            check(replace(release, answers=(*release.answers[:2], told.id)), known)


def test_a_request_answers_its_assessment_and_no_signal_but_one_from_outside() -> None:
    records = whole_cycle()
    at = position(RetrainRequest)
    request, signal, assessment = records[at], records[position(Signal)], records[position(Assessment)]
    refused(at, replace(request, answers=(signal.id,)), "answers the assessment of its time")
    refused(at, replace(request, answers=(assessment.id, signal.id)), "no signal but one from outside")
    outside = replace(signal, family=Family.EXTERNAL)  # type: ignore[call-arg]
    known = History.fold([*records[:at], outside]).known
    check(replace(request, answers=(assessment.id, outside.id)), known)


@pytest.mark.parametrize(
    ("family", "name", "legal"),
    [
        (Family.EXTERNAL, "rollback", True),
        (Family.EXTERNAL, "request", False),
        (Family.PERFORMANCE, "rollback", False),
    ],
)
def test_a_person_orders_a_roll_back_and_nothing_else_that_is_said_does(family: Family, name: str, legal: bool) -> None:
    records = whole_cycle()
    at = next(
        place for place, each in enumerate(records) if getattr(each, "release_kind", None) is ReleaseKind.ROLLBACK
    )
    history = History.fold(records[:at])
    some = next(each for each in records if isinstance(each, Signal))
    said = replace(some, at=records[at].at, answers=(history.champion.id,), family=family, name=name)
    history.add(said)
    ordered = replace(records[at], answers=(said.id,))
    if legal:
        history.add(ordered)
        assert history.champion.candidate == history.releases[0].candidate
    else:
        with pytest.raises(LifeCycleError, match="a person's order"):
            history.add(ordered)


def test_the_glass_is_broken_again_only_once_somebody_else_has_reviewed_it_once() -> None:
    records = whole_cycle()
    broken, reviewed = records[position(BreakGlass)], records[position(GlassReview)]
    refused(position(GlassReview), replace(broken, at=broken.at + DAY), f"nobody has reviewed {broken.id} yet")
    refused(position(GlassReview), replace(reviewed, actor="bob"), "somebody else reviews it")  # type: ignore[call-arg]
    refused(position(GlassReview) + 1, replace(reviewed, at=reviewed.at + DAY), "reviewed already")
    History.fold(records[: position(GlassReview) + 1]).add(replace(broken, at=broken.at + DAY))


def test_nothing_is_decided_or_released_by_glass_that_counts_no_more() -> None:
    records = whole_cycle()
    broken, released = records[position(BreakGlass)], position(Release, 1)
    by = tuple(each for each in records[released].answers if not each.startswith("approval"))
    history = History.fold(records[:released])
    refused(released, replace(records[released], at=AT + 8 * DAY, answers=(*by, broken.id)), "counts no more")
    history.add(replace(records[released], answers=(*by, broken.id)))
    decision = records[position(Decision)]
    late = replace(decision, at=AT + 8 * DAY, answers=(*decision.answers, broken.id))
    refused(released, late, "counts no more")


def test_each_answers_an_ask_once_and_never_who_asked() -> None:
    records = whole_cycle()
    asked, said = position(Ask), position(Approval)
    ask = replace(records[asked], needed=2, requester="eve")  # type: ignore[call-arg]
    history = History.fold([*records[:asked], ask])
    first = replace(records[said], answers=(ask.id,))
    history.add(first)
    assert history.cycles[0].asked(Asked.RELEASE) == (ask, None)
    for actor, words in (("ann", "ann answered it already"), ("eve", "eve asked for it")):
        with pytest.raises(LifeCycleError, match=words):
            history.add(replace(first, actor=actor, token="u"))  # type: ignore[call-arg]
    second = replace(first, actor="bob")  # type: ignore[call-arg]
    history.add(second)
    assert history.cycles[0].asked(Asked.RELEASE) == (ask, second)
    with pytest.raises(LifeCycleError, match="has its answer already"):
        history.add(replace(first, actor="cat"))  # type: ignore[call-arg]


def test_nothing_goes_by_fewer_approvals_than_were_asked_for() -> None:
    records = whole_cycle()
    asked, said, released = position(Ask), position(Approval), position(Release, 1)
    ask = replace(records[asked], needed=2)  # type: ignore[call-arg]
    history = History.fold([*records[:asked], ask])
    first = replace(records[said], answers=(ask.id,))
    history.add(first)
    second = replace(first, actor="bob")  # type: ignore[call-arg]
    history.add(second)
    verdicts = tuple(each for each in records[released].answers if each.startswith("verdict"))
    with pytest.raises(LifeCycleError, match="approved by 1 of 2"):
        check(replace(records[released], answers=(*verdicts, first.id)), history.known)
    check(replace(records[released], answers=(*verdicts, first.id, second.id)), history.known)
