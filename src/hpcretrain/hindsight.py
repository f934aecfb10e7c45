"""What homes decided, made again; what another policy would have decided; and what a policy file says."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcretrain import again, claims
from hpcretrain.adapters.home import Home, default_home
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.canonical import plain, sha256
from hpcretrain.config.load import in_force, kept_policy, known_key, load_policy, policy_text, read_policy
from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.policy.types import Policy
from hpcretrain.records import RULE_VERSION, Activation, Record
from hpcretrain.steps.activate import changes
from hpcretrain.steps.share import cpu_s

MOST_COMBINATIONS = 500
_MOST_PROBLEMS = 20


def replay(home: Path | str | None = None) -> dict[str, Any]:
    """Make every past assessment, request and decision of a home again, and compare bytes; see docs/reference/json.md.

    Raises:
        InputError: There is no home there.
    """
    found = list(again.replay(_records(home), read_policy))
    other = [each for each in found if each.same is not True]
    return {
        "rules": RULE_VERSION,
        "made_again": len(found),
        "same": sum(each.same is True for each in found),
        "differing": sum(each.same is False for each in found),
        "not_made": sum(each.same is None for each in found),
        "records": [
            {"id": each.record.id, "at": plain(each.record.at), "same": each.same, "why": each.why} for each in other
        ],
    }


def what_if(policy: Path, home: Path | str | None = None) -> dict[str, Any]:
    """Which assessments and decisions of a home would have come out otherwise under another policy, and why.

    Raises:
        InputError: There is no home there, or the policy cannot be used.
    """
    past, wanted = _past(home), load_policy(policy)
    found = again.what_if(past.records, wanted)
    scores = [each for each in found if each.score_alone]
    now, then = again.course(past.records, in_force(past.history)), again.course(past.records, wanted)
    return {
        "policy_digest": sha256(policy_text(wanted)),
        "changed": [
            {
                "id": each.record.id,
                "kind": each.record.kind,
                "at": plain(each.record.at),
                "before": each.before,
                "after": each.after,
                "why": [vars(difference) for difference in each.why],
            }
            for each in found
            if not each.score_alone
        ],
        "scores": [
            {
                "id": each.record.id,
                "at": plain(each.record.at),
                "before": each.before["score"],
                "after": each.after["score"],
            }
            for each in scores
        ],
        "recorded": _course(again.recorded(past.history), past),
        "in_force": _course(now, past),
        "instead": _course(then, past),
    }


def sweep(vary: Sequence[str], homes: Sequence[Path | str], policy: Path | None = None) -> dict[str, Any]:
    """How often each model would have retrained, and at what cost, with each combination of some settings.

    A combination that the policy refuses is told as refused, and the others go on.

    Args:
        vary: Each "key=value,value,…", with the key's path in the policy and values as in TOML.
        homes: The homes; none for the default one.
        policy: What is varied. Default: the policy in force in each home.

    Raises:
        InputError: A setting cannot be read or is varied twice, no combination can be used, there are too many of
            them, or there is no home.
    """
    axes: dict[str, list[Any]] = {}
    for key, values in map(_axis, vary):
        if key in axes:
            raise InputError(f"--vary {key}: is varied twice; write all its values in one, as in {key}=1,2,3")
        axes[key] = values
    combinations = [dict(zip(axes, each, strict=True)) for each in itertools.product(*axes.values())]
    if len(combinations) > MOST_COMBINATIONS:
        raise InputError(f"{len(combinations)} combinations are asked for; at most {MOST_COMBINATIONS}")
    base = load_policy(policy) if policy else None
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for home in homes or [default_home()]:
        past = _past(home)
        own = base or in_force(past.history)
        model = past.history.baseline.model if past.history.baseline else str(home)
        for settings in combinations:
            told = {"model": model, "home": str(home), "settings": settings}
            try:
                varied = _varied(own, settings)
            except InputError as error:
                refused.append({**told, "reasons": list(error.problems)})
                continue
            rows.append({**told, **_course(again.course(past.records, varied), past)})
    if not rows:
        problems = list(dict.fromkeys(reason for each in refused for reason in each["reasons"]))
        more = len(problems) - _MOST_PROBLEMS
        raise InputError([*problems[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])])
    return {"rows": rows, "refused": refused, "unmoved": _unmoved(rows)}


def check(policy: Path) -> dict[str, Any]:
    """What a policy file comes to.

    Raises:
        InputError: It cannot be used; every problem at once.
    """
    found = load_policy(policy)
    return {
        "policy": found.name,
        "policy_digest": sha256(policy_text(found)),
        "rules": RULE_VERSION,
        "canonical": json.loads(policy_text(found)),
    }


def diff(before: str, after: str) -> dict[str, Any]:
    """What differs between two policies: each a file, or a home for the policy in force there.

    Raises:
        InputError: One cannot be read.
    """
    old, new = (_text(Path(each)) for each in (before, after))
    return {
        "before": sha256(old),
        "after": sha256(new),
        "changes": [
            {
                "key": each.check.removeprefix("policy:"),
                "how": each.reason,
                "before": each.limit,
                "after": each.observed,
            }
            for each in changes(old, new)
        ],
    }


def proposed(home: Path | None, policy: Path | None) -> tuple[Path, str]:
    """A home, and the canonical text of a policy that is to take effect in it; without a file, of the one before.

    Raises:
        InputError: There is no home there, the policy cannot be used, or there was none before.
    """
    place = home or default_home()
    if policy is not None:
        Home.existing(place)
        return place, policy_text(load_policy(policy))
    before = [each.policy for each in _records(place) if isinstance(each, Activation)]
    if len(before) < 2:
        raise InputError(f"{place}: no policy was in force before this one")
    return place, before[-2]


def _text(place: Path) -> str:
    return policy_text(in_force(History.fold(_records(place))) if place.is_dir() else load_policy(place))


def _records(home: Path | str | None) -> list[Record]:
    return _past(home).records


@dataclass(frozen=True)
class _Past:
    """What a home recorded, and the CPU seconds that a million of row-passes took; None before any job has ended."""

    records: list[Record]
    history: History
    cpu_s_per_mrow_pass: float | None


def _past(home: Path | str | None) -> _Past:
    place = Home.existing(Path(home) if home else default_home())
    ledger = FileLedger(place.ledger, read_only=True)
    records = list(ledger.records())
    history = History.fold(records)
    return _Past(records, history, claims.cpu_s_per_mrow_pass(history, cpu_s(ledger.notes("job_finished"))))


def _course(course: again.Course, past: _Past) -> dict[str, Any]:
    classes: dict[str, int] = {}
    for _, priority_class, _ in course.ran:
        classes[priority_class.value] = classes.get(priority_class.value, 0) + 1
    cost, rate = course.cost_mrow_passes, past.cpu_s_per_mrow_pass
    return {
        "asked": len(course.asked),
        "asked_outside": course.outside,
        "ran": len(course.ran),
        "by_class": classes,
        "cost_mrow_passes": cost,
        "cost_cpu_hours": None if cost is None or rate is None else cost * rate / 3600,
    }


def _unmoved(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """For each home, the keys whose every value gives the same, whatever the others are."""
    found = []
    for home in dict.fromkeys(row["home"] for row in rows):
        mine = [row for row in rows if row["home"] == home]
        for key in mine[0]["settings"]:
            groups: dict[str, list[Mapping[str, Any]]] = {}
            for row in mine:
                others = {name: value for name, value in row["settings"].items() if name != key}
                groups.setdefault(repr(others), []).append({**row, "settings": None})
            same = all(row == group[0] for group in groups.values() for row in group)
            if same and len(groups) < len(mine):
                found.append({"model": mine[0]["model"], "home": home, "key": key})
    return found


def _axis(text: str) -> tuple[str, list[Any]]:
    """A key, and its values, each once."""
    key, equals, values = text.partition("=")
    try:
        if not equals or not key.strip():
            raise ValueError("write key=value,value")
        found = tomllib.loads(f"values = [{values}]")["values"]
    except ValueError as error:
        raise InputError(f"--vary {text}: {error}; for example score.threshold=250,300,350") from None
    if not found:
        raise InputError(f"--vary {text}: names no value")
    return key.strip(), list({repr(value): value for value in found}.values())


def _varied(policy: Policy, settings: Mapping[str, Any]) -> Policy:
    content = json.loads(policy_text(policy))
    for key, value in settings.items():
        *path, last = key.split(".")
        table = content
        for part in path:
            table = _part(table, part)
        if not isinstance(table, dict) or last not in table:
            raise InputError(f"--vary {key}: {_not_there(key.split('.'))}")
        table[last] = value
    said = ", ".join(f"{key}={value}" for key, value in settings.items())
    return kept_policy(json.dumps(content), f"the policy with {said}", policy.jobs)


def _part(content: Any, name: str) -> Any:
    """A part of a policy, by its key, or by its place in a list, from 0; None where it is not there."""
    if isinstance(content, list):
        return content[int(name)] if name.isdecimal() and int(name) < len(content) else None
    return content.get(name) if isinstance(content, dict) else None


def _not_there(path: Sequence[str]) -> str:
    if not known_key(path):
        return "is no key of the policy; docs/reference/policy.md lists them"
    if path[0] == "jobs":
        return "how jobs are tried again changes no decision"
    return "is not set in this policy; vary a policy that sets it (--policy FILE.toml)"
