"""Whether a job gets another attempt, and what that asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpcretrain.policy.types import JobRules
from hpcretrain.records import Finding, Outcome
from hpcretrain.witnesses import Fate

INTERRUPTIONS = frozenset({Fate.INTERRUPTED, Fate.PREEMPTED, Fate.NODE_FAILED, Fate.UNTAKEN})
FAILURES = frozenset({Fate.FAILED, Fate.OUT_OF_MEMORY, Fate.TIMED_OUT, Fate.LOST})


@dataclass(frozen=True)
class Ask:
    """What an attempt asks Slurm for; `memory_mb` is None where the site's default is taken."""

    memory_mb: int | None
    time_limit_min: int


@dataclass(frozen=True)
class Most:
    """The most that a retry may ask for; None bounds nothing but Slurm's own limits."""

    memory_mb: int | None = None
    time_limit_min: int | None = None


@dataclass(frozen=True)
class Past:
    """An attempt that ended: how, what it had asked for, how often it was requeued, and whether it left more behind."""

    fate: Fate
    ask: Ask
    restarts: int = 0
    progress: bool = False


@dataclass(frozen=True)
class Retry:
    """The next attempt, or None, and why."""

    ask: Ask | None
    finding: Finding


def retry(past: Sequence[Past], rules: JobRules, most: Most, *, by_us: bool = False) -> Retry:
    """Decide about a job whose last attempt has ended without a result.

    Args:
        past: Its attempts, oldest first; at least one.
        rules: The limits.
        most: The most that a retry may ask for.
        by_us: The last one was canceled by the controller itself, which wants it to go on.

    Raises:
        ValueError: The last attempt has not ended, or has its result.
    """
    last = past[-1]
    if last.fate is Fate.CANCELLED:
        return _after_cancellation(last, by_us)
    # One that came to its time limit, and further than the one before, needs only to go on.
    went_on = last.fate in INTERRUPTIONS or (last.fate is Fate.TIMED_OUT and last.progress)
    if went_on:
        return _after_interruption(past, rules)
    if last.fate not in FAILURES:
        raise ValueError(f"an attempt that is {last.fate.value} is not tried again")
    return _after_failure(past, rules, most)


def anew(ask: Ask, past: Sequence[Past], rules: JobRules, most: Most) -> Ask:
    """What a job asks for that a person runs again: what its class gives now, or more where that was not enough before.

    Args:
        ask: What the class gives now.
        past: The attempts before, oldest first.
        rules: How much more is asked for after memory or time was not enough.
        most: The most that may be asked for.
    """
    for each in past:
        if each.fate is Fate.OUT_OF_MEMORY and each.ask.memory_mb and ask.memory_mb:
            more = _with_more_memory(each.ask, rules, most, "").ask
            if more and more.memory_mb:
                ask = replace(ask, memory_mb=max(ask.memory_mb, more.memory_mb))
        elif each.fate is Fate.TIMED_OUT and not each.progress:
            more = _with_more_time(each.ask, rules, most, "").ask
            if more:
                ask = replace(ask, time_limit_min=max(ask.time_limit_min, more.time_limit_min))
    return ask


def interrupted_too_often(interruptions: int, rules: JobRules) -> Finding | None:
    """Why a job that was interrupted so often is given up; None while it is not."""
    if interruptions <= rules.most_interruptions:
        return None
    return _no(
        "retries:interruptions",
        f"interrupted {interruptions} times, more than the policy's jobs.most_interruptions; give it a class that is "
        "preempted less, or raise the limit",
        interruptions,
        rules.most_interruptions,
    )


def _after_cancellation(last: Past, by_us: bool) -> Retry:
    if by_us:
        return _yes(last.ask, "retries:canceled", "the controller canceled it to let it begin anew", None, None)
    reason = (
        "canceled by somebody else, who will have had a reason, so it is not submitted again by itself; the same "
        "command submits it again from its checkpoint"
    )
    return Retry(None, _no("retries:canceled", reason, None, None))


def _after_interruption(past: Sequence[Past], rules: JobRules) -> Retry:
    # One that Slurm never took was not interrupted: an outage or a full queue may last.
    count = sum(
        each.restarts + (each.fate is not Fate.UNTAKEN and (each.fate not in FAILURES or each.progress))
        for each in past
    )
    if refusal := interrupted_too_often(count, rules):
        return Retry(None, refusal)
    reason = f"{past[-1].fate.value}; it goes on at its checkpoint"
    return _yes(past[-1].ask, "retries:interruptions", reason, count, rules.most_interruptions)


def _after_failure(past: Sequence[Past], rules: JobRules, most: Most) -> Retry:
    last = past[-1]
    count = sum(each.fate in FAILURES and not (each.fate is Fate.TIMED_OUT and each.progress) for each in past)
    check = f"retries:{last.fate.value}"
    if count >= rules.most_failures:
        reason = (
            f"{count} attempts ended badly, the last one: {last.fate.value}; see its log, mend the cause, run it again"
        )
        return Retry(None, _no(check, reason, count, rules.most_failures))
    if last.fate is Fate.OUT_OF_MEMORY:
        return _with_more_memory(last.ask, rules, most, check)
    if last.fate is Fate.TIMED_OUT:
        return _with_more_time(last.ask, rules, most, check)
    return _yes(last.ask, check, f"{last.fate.value}; it is tried again", count, rules.most_failures)


def _with_more_memory(ask: Ask, rules: JobRules, most: Most, check: str) -> Retry:
    if ask.memory_mb is None:
        reason = "the site's default memory was not enough; set memory_mb of its class in the cluster profile"
        return Retry(None, _no(check, reason, None, None))
    wanted = math.ceil(ask.memory_mb * rules.memory_factor)
    granted = wanted if most.memory_mb is None else min(wanted, most.memory_mb)
    if granted <= ask.memory_mb:
        reason = f"{ask.memory_mb} MB were not enough; raise limits.most_memory_mb of the cluster profile"
        return Retry(None, _no(check, reason, ask.memory_mb, most.memory_mb))
    reason = f"{ask.memory_mb} MB were not enough, so it asks for {granted} MB"
    return _yes(replace(ask, memory_mb=granted), check, reason, granted, most.memory_mb)


def _with_more_time(ask: Ask, rules: JobRules, most: Most, check: str) -> Retry:
    wanted = math.ceil(ask.time_limit_min * rules.time_factor)
    granted = wanted if most.time_limit_min is None else min(wanted, most.time_limit_min)
    if granted <= ask.time_limit_min:
        reason = (
            f"no checkpoint was reached in {ask.time_limit_min} min; raise limits.most_time_min of the cluster profile"
        )
        return Retry(None, _no(check, reason, ask.time_limit_min, most.time_limit_min))
    reason = f"no checkpoint was reached in {ask.time_limit_min} min, so it asks for {granted} min"
    return _yes(replace(ask, time_limit_min=granted), check, reason, granted, most.time_limit_min)


def _yes(ask: Ask, check: str, reason: str, observed: int | None, limit: int | None) -> Retry:
    return Retry(ask, Finding(check=check, outcome=Outcome.PASS, reason=reason, observed=observed, limit=limit))


def _no(check: str, reason: str, observed: int | None, limit: int | None) -> Finding:
    return Finding(check=check, outcome=Outcome.FAIL, reason=reason, observed=observed, limit=limit)
