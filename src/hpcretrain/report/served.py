"""Which model served when: from the ledger alone, with where it is found in MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hpcretrain.canonical import plain
from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.records import Record, Release, Stage, Verdict
from hpcretrain.report import members
from hpcretrain.report.explain import ancestors, brief

Notes = Sequence[Mapping[str, Any]]


def moment(text: str) -> datetime:
    """The time that a user names: ISO 8601; a date alone is its midnight, and what has no zone is in UTC.

    Raises:
        InputError: It is no time.
    """
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(
            f'"{text}" is no time; write ISO 8601, such as 2013-05-01, 2013-05-01T12:00Z or 2013-05-01T12:00+02:00'
        ) from None


def served_at(history: History, notes: Notes, at: datetime) -> dict[str, Any]:
    """What served at a time, since when, until when, and why; see docs/reference/json.md.

    A model serves from its release on: at the very time of a release it is the new one. `release` and all that follows
    from it is None before the first.

    Args:
        history: All records.
        notes: The operations of the same ledger.
        at: The time asked for.
    """
    number = sum(release.at <= at for release in history.releases) - 1
    stint = _stint(history, notes, number) if number >= 0 else dict.fromkeys(_KEYS)
    return {**_frame(history), "at": plain(at), **stint}


def all_served(history: History, notes: Notes) -> dict[str, Any]:
    """Everything that served, in order, and every move of an alias in MLflow."""
    moves = [
        {
            "alias": note["alias"],
            "candidate": note["serves"],
            "version": note["version"],
            "run": note["run"],
            "at": note["moved_at"],
            "done_at": _zulu(note["at"]),
        }
        for note in notes
        if note["event"] == "alias_moved"
    ]
    stints = [_stint(history, notes, number) for number in range(len(history.releases))]
    return {**_frame(history), "served": stints, "aliases": moves}


def served_text(answer: Mapping[str, Any]) -> str:
    """`served_at` in words."""
    at, known = _short(answer["at"]), _short(answer["ledger_until"])
    if answer["release"] is None:
        first = answer["first_release"]
        return f"nothing served at {at}: " + (
            f"the first release was at {_short(first)}" if first else "this ledger has no release"
        )
    until = f"until {_short(answer['until'])}" if answer["until"] else f"to the ledger's end at {known}"
    place = "not in MLflow"
    if answer["version"] is not None:
        place = f"version {answer['version']} of {answer['model']}, run {answer['run']}"
    lines = [
        f"at {at} {answer['release']} of {answer['model']} served",
        f"  served   from {_short(answer['from'])} {until}: {answer['kind']}",
        f"  model    {answer['model_digest']}",
        f"  MLflow   {place}",
        *_trained(answer),
        *(f"  {word:<8} {each['id']}  {each['summary']}" for word, each in _reasons(answer)),
    ]
    if answer["confirmed_at"] is None:
        lines.append("  the alias champion was not confirmed; the same backtest, started again, takes it up")
    if datetime.fromisoformat(answer["at"]) > datetime.fromisoformat(answer["ledger_until"]):
        lines.append(f"  the ledger ends at {known}; what was released after it is not known here")
    return "\n".join(lines)


def all_served_text(answer: Mapping[str, Any]) -> str:
    """`all_served` in words."""
    if not answer["served"]:
        return "nothing served yet"
    lines = [f"{answer['model']}: what served, from when until when (UTC)"]
    for stint in answer["served"]:
        until = _short(stint["until"], zone=False) if stint["until"] else "now"
        version = "-" if stint["version"] is None else stint["version"]
        lines.append(
            f"  {_short(stint['from'], zone=False)}  {until:<16}  {stint['kind']:<9}  version {version:<4}  "
            f"model {stint['model_digest'][:12]}  {stint['release']}{_average_of(stint)}"
        )
    return "\n".join(lines)


_KEYS = (
    *("release", "kind", "from", "until", "candidate", "twin", "model_digest", "window", "members"),
    *("version", "run", "verdict", "decision", "request", "because", "confirmed_at"),
)


def _frame(history: History) -> dict[str, Any]:
    return {
        "model": history.baseline.model if history.baseline else None,
        "first_release": plain(history.releases[0].at) if history.releases else None,
        "ledger_until": plain(max(record.at for record in history.known.values())) if history.known else None,
    }


def _stint(history: History, notes: Notes, number: int) -> dict[str, Any]:
    release = history.releases[number]
    following = history.releases[number + 1 : number + 2]
    led_to = ancestors(history, release)
    judged = _judged(history, release)
    why = {record.id for record in (*led_to, judged) if record is not None and record.kind in _WHY}
    registered = _last(notes, "registered", release.candidate)
    return {
        "release": release.id,
        "kind": release.release_kind.value,
        "from": plain(release.at),
        "until": plain(following[0].at) if following else None,
        "candidate": release.candidate,
        "twin": release.twin,
        "model_digest": release.model_digest,
        "window": plain(release.window),
        "members": [
            {**members.told(fit), **{key: _last(notes, "registered", fit.id).get(key) for key in ("version", "run")}}
            for fit in members.fits(history.known, release)
        ],
        "version": registered.get("version"),
        "run": registered.get("run"),
        "verdict": judged.id if judged else None,
        "decision": _first(led_to, "decision"),
        "request": _first(led_to, "request"),
        "because": [brief(record) for record in history.known.values() if record.id in why],
        "confirmed_at": _zulu(_last(notes, "release_confirmed", release.id).get("at")),
    }


_WHY = {"request": "asked by", "decision": "ordered", "verdict": "judged", "watch": "watched"}


def _trained(answer: Mapping[str, Any]) -> list[str]:
    """What data made the model: its rows, or those of each member of an average."""
    if not answer["members"]:
        return [f"  trained  on {_rows(answer['window'])}"]
    heading = f"  average  of {len(answer['members'])} fits, the fresh one first:"
    return [heading, *(f"    {each['candidate']}  {_rows(each['window'])}" for each in answer["members"])]


def _rows(window: Mapping[str, Any]) -> str:
    span = f"{_short(window['start'])} to {_short(window['end'])}"
    return f"{window['rows']:,} rows from {span} ({window['name']}), digest {window['digest'][:16]}"


def _average_of(stint: Mapping[str, Any]) -> str:
    return f"  average of {len(stint['members'])}" if stint["members"] else ""


def _reasons(answer: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(_WHY[each["kind"]], each) for each in answer["because"]]


def _judged(history: History, release: Release) -> Verdict | None:
    """The verdict by which the model came to serve; a roll-back brings back what was judged before."""
    return next(
        (each for each in history.verdicts if each.candidate == release.twin and each.stage is Stage.GATE), None
    )


def _first(records: Iterable[Record], kind: str) -> str | None:
    return next((record.id for record in records if record.kind == kind), None)


def _last(notes: Notes, event: str, serves: str) -> Mapping[str, Any]:
    return next((note for note in reversed(notes) if note["event"] == event and note["serves"] == serves), {})


def _zulu(at: str | None) -> str | None:
    return plain(datetime.fromisoformat(at)) if at else None


def _short(at: str | None, *, zone: bool = True) -> str:
    if at is None:
        return "an unknown time"
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M}" + (" UTC" if zone else "")
