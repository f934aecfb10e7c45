"""What serves, since when, and what served before it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from hpcretrain.records import Reading, Release, ReleaseKind
from hpcretrain.report import markdown, story, wording
from hpcretrain.report.artifacts.shown import MARKDOWN, Artifact, Shown

_MOST_RELEASES = 10


def release(shown: Shown) -> Artifact:
    """What serves, since when, and what served before it."""
    releases = shown.history.releases
    if not releases:
        return Artifact("release", MARKDOWN, "nothing serves yet", "Nothing serves yet.")
    now, watched = releases[-1], shown.history.watched
    since = wording.day(now.at, shown.zone)
    summary = f"{now.release_kind.value} of {since} serves{_primary(now, shown.primary_metric)}"
    state = f"It is being watched, {wording.plural(len(watched.watches), 'look')} so far." if watched else ""
    columns = [("", False), ("Serves", False), *([("Before it", False)] if len(releases) > 1 else [])]
    sides = [_side(each, shown) for each in reversed(releases[-2:])]
    rows = [(name, *(side[name] for side in sides)) for name in sides[0]]
    return Artifact(
        "release",
        MARKDOWN,
        summary,
        markdown.paragraphs(
            f"**{wording.capitalized(summary)}.** {state}".rstrip(),
            markdown.table(columns, rows),
            f"## The last releases\n\n{_past(shown)}",
            f"`hpcretrain served` tells of all. {shown.foot}",
        ),
        now.id,
    )


def _side(each: Release, shown: Shown) -> dict[str, str]:
    until = _until(each, shown)
    registered = shown.registered().get(each.candidate, {})
    version = f"version {registered['version']}" if registered.get("version") else "not there"
    return {
        "Release": markdown.code(each.id),
        "Kind": each.release_kind.value,
        "Since": wording.day(each.at, shown.zone),
        "Until": wording.day(until, shown.zone) if until else "now",
        "Model": markdown.code(each.model_digest[:12]),
        "In MLflow": markdown.link(version, shown.run_page(registered.get("run"))),
        "Learned": f"“{markdown.escape(each.window.name)}”, {each.window.rows:,} rows, "
        f"{wording.span(each.window.start, each.window.end, shown.zone)}",
        **{f"{wording.capitalized(wording.metric(name))} when judged": text for name, text in _judged(each.readings)},
    }


def _judged(readings: Sequence[Reading]) -> list[tuple[str, str]]:
    return [(each.metric, f"{wording.value(each.metric, each.value)} ± {wording.digits(each.se)}") for each in readings]


def _primary(each: Release, metric: str) -> str:
    value = next((reading.value for reading in each.readings if reading.metric == metric), None)
    return f", {wording.metric(metric)} {wording.value(metric, value)} when judged" if value is not None else ""


def _until(each: Release, shown: Shown) -> datetime | None:
    releases = shown.history.releases
    place = releases.index(each)
    return releases[place + 1].at if place + 1 < len(releases) else None


def _past(shown: Shown) -> str:
    releases = shown.history.releases
    closings = {cycle.release.id: story.ending(cycle)[1] for cycle in shown.history.cycles if cycle.release}
    listed = [
        (
            markdown.code(each.id),
            wording.day(each.at, shown.zone),
            each.release_kind.value,
            markdown.escape(each.window.name),
            closings.get(each.id, "the first" if each.release_kind is ReleaseKind.FIRST else "the model before"),
        )
        for each in reversed(releases)
    ]
    rows, more = markdown.first(listed, _MOST_RELEASES)
    headings = (("Release", False), ("Since", False), ("Kind", False), ("Window", False), ("Came to", False))
    return markdown.paragraphs(markdown.table(headings, rows), more)
