"""What was made again, and what another policy would have decided, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST, _MOST_CHECKS = 40, 4
_TELLING = ("action", "class", "still_wanted")


def show_replay(found: Mapping[str, Any]) -> str:
    """How many records came out the same, and which did not."""
    lines = [
        f"{found['made_again']} assessments, requests and decisions, made again by rules {found['rules']}: "
        f"{found['same']} the same to the byte, {found['differing']} otherwise, {found['not_made']} could not be made"
    ]
    for each in found["records"][:_MOST]:
        how = "differs" if each["same"] is False else "not made"
        lines.append(f"  {each['at'][:16]}  {each['id']:<28} {how}: {each['why']}")
    return "\n".join([*lines, *_more(found["records"])])


def show_what_if(found: Mapping[str, Any]) -> str:
    """What would have come out otherwise, and why."""
    lines = [f"policy {found['policy_digest'][:16]} instead of the one in force:"]
    for each in found["changed"][:_MOST]:
        before, after = each["before"], each["after"]
        changes = ", ".join(
            f"{key} {_said(before[key])} -> {_said(after[key])}" for key in before if before[key] != after[key]
        )
        lines.append(f"  {each['at'][:16]}  {each['id']:<28} {changes}")
        lines += [f"      {why}" for why in _why(each["why"])]
    lines += _more(found["changed"])
    if not found["changed"]:
        lines.append("  nothing would have been done otherwise")
    lines += _scores(found["scores"])
    lines.append(f"retrainings recorded: {_course(found['recorded'])}")
    lines.append("modeled, as if no candidate were rejected and no release watched:")
    lines.append(f"  policy in force:    {_course(found['in_force'])}")
    lines.append(f"  policy instead:     {_course(found['instead'])}")
    return "\n".join(lines)


def show_sweep(found: Mapping[str, Any]) -> str:
    """A line for each model and combination."""
    lines = [f"{'model':<20}{'asked':>7}{'ran':>6}{'cost':>12}{'CPU hours':>12}  settings"]
    for row in found["rows"]:
        costs = (row["cost_mrow_passes"], row["cost_cpu_hours"])
        cost, hours = ("unknown" if each is None else f"{each:.4g}" for each in costs)
        settings = ", ".join(f"{key}={value}" for key, value in row["settings"].items())
        lines.append(f"{row['model'][:19]:<20}{row['asked']:>7}{row['ran']:>6}{cost:>12}{hours:>12}  {settings}")
    lines += [f"{each['model'][:19]:<20} refused: {'; '.join(each['reasons'])}" for each in found["refused"]]
    lines += [f"{each['model'][:19]:<20} {each['key']} changed nothing here" for each in found["unmoved"]]
    return "\n".join([*lines, "cost in millions of row-passes; CPU hours by what past jobs took"])


def show_check(found: Mapping[str, Any]) -> str:
    """That a policy can be used, and its digest."""
    return f"policy {found['policy']!r} can be used; digest {found['policy_digest']}, rules {found['rules']}"


def show_diff(found: Mapping[str, Any]) -> str:
    """A line for each key."""
    if not found["changes"]:
        return "the policies say the same"
    return "\n".join(f"{each['key']}: {_said(each['before'])} -> {_said(each['after'])}" for each in found["changes"])


def _why(differing: list[Mapping[str, Any]]) -> list[str]:
    """What tells most: what was concluded, then checks whose outcome is another; only without those, other numbers."""
    telling = [each for name in _TELLING for each in differing if each["check"] == name]
    others = [each for each in differing if _outcome(each["before"]) != _outcome(each["after"])]
    shown = [*telling, *(each for each in others if each not in telling)][:_MOST_CHECKS] or differing[:_MOST_CHECKS]
    left = len(differing) - len(shown)
    more = [f"and {left} more checks; --json lists all" if left > 1 else "and 1 more check; --json lists it"]
    return [f"{each['check']}: {each['before']} -> {each['after']}" for each in shown] + (more if left else [])


def _outcome(said: str) -> str:
    return said.partition(" (")[0]


def _scores(scores: list[Any]) -> list[str]:
    """How many scores alone differ, and by how much at most."""
    if not scores:
        return []
    most = max(scores, key=lambda each: abs(each["after"] - each["before"]))
    return [
        f"  in {len(scores)} assessments the score alone differs, most at {most['at'][:16]}: {most['before']} -> "
        f"{most['after']}; --json lists all"
    ]


def _course(course: Mapping[str, Any]) -> str:
    cost = "" if course["cost_mrow_passes"] is None else f", cost {course['cost_mrow_passes']:.4g} million row-passes"
    hours = "" if course["cost_cpu_hours"] is None else f" (about {course['cost_cpu_hours']:.3g} CPU hours)"
    outside = f" ({course['asked_outside']} from outside)" if course["asked_outside"] else ""
    classes = ", ".join(f"{count} {name}" for name, count in course["by_class"].items())
    return f"asked {course['asked']}{outside}, ran {course['ran']}{f' ({classes})' if classes else ''}{cost}{hours}"


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    return "nothing" if value is None else str(value)


def _more(rows: list[Any]) -> list[str]:
    return [f"  and {len(rows) - _MOST} more; --json lists all"] if len(rows) > _MOST else []
