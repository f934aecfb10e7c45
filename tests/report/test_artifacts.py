"""What Prefect shows: text, as a Markdown reader understands it, made of a real replay."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pages import HOSTILE
from PIL import Image

from hpcretrain.cycle import Cycle
from hpcretrain.history import History
from hpcretrain.ports import Gain, Meeting
from hpcretrain.records import PriorityClass, Stage
from hpcretrain.report import markdown, wording
from hpcretrain.report.artifacts.going import FAILED, FINISHED, RUNNING, WAITING, Saved, current, going, percent
from hpcretrain.report.artifacts.intervals import intervals
from hpcretrain.report.artifacts.made import artifacts, key
from hpcretrain.report.artifacts.shown import Artifact, Shown
from hpcretrain.report.page import Source
from hpcretrain.report.pictures import draw, panels

READER = MarkdownIt("commonmark").enable("table").enable("strikethrough")
MARKUP = ("a", " ", "\n", "*", "**", "_", "`", "~~", "|", "\\", "[x](y)", "![", "]", "<b>", "</b>", "<!--", "&lt;", "#")
Notes = Sequence[Mapping[str, Any]]


def shown(source: Source, notes: Notes = (), **changes: Any) -> Shown:
    made = Shown(
        history=source.history,
        notes=notes,
        primary_metric=source.primary_metric,
        zone=ZoneInfo(source.timezone),
        cpu_s=source.cpu_s,
        jobs=going(source.history, notes, {}),
    )
    return replace(made, **changes)


def named(made: Sequence[Artifact]) -> dict[str, Artifact]:
    return {each.name: each for each in made}


def text(artifact: Artifact) -> str:
    assert isinstance(artifact.data, str)
    return artifact.data


def cells(artifact: Artifact) -> list[list[str]]:
    """The cells of all tables, as a reader sees them."""
    rows: list[list[str]] = []
    for token in READER.parse(text(artifact)):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and token.level == 4 + (token.map is None):
            rows[-1].append("".join(each.content for each in token.children or ()))
    return rows


@given(st.lists(st.sampled_from(MARKUP)).map("".join) | st.text())
@settings(deadline=None, max_examples=300)
def test_any_text_shows_letter_by_letter_in_a_line_and_in_a_cell(words: str) -> None:
    seen = " ".join(words.replace("\0", "\N{REPLACEMENT CHARACTER}").split())[:300]
    wanted = " ".join(seen.split())
    table = markdown.table((("A", False), ("B", True)), [(markdown.escape(seen), "end")])
    [line] = [each for each in READER.parse(f"x{markdown.escape(seen)}") if each.type == "inline"]
    kinds = {child.type for child in line.children or ()}
    assert kinds <= {"text", "text_special"}
    assert "".join(child.content for child in line.children or ()) == f"x{wanted}"
    inside = [each for each in READER.parse(table) if each.type == "inline"]
    assert ["".join(child.content for child in each.children or ()) for each in inside] == ["A", "B", wanted, "end"]


def test_a_text_that_is_very_long_is_cut() -> None:
    assert len(markdown.escape("x" * 10_000)) == 400


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", fullmatch=True))
@settings(deadline=None)
def test_keys_hold_what_prefect_allows(model: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key(model, "backlog"))


def test_the_same_home_gives_the_same_artifacts(changed: Source) -> None:
    assert artifacts(shown(changed)) == artifacts(shown(changed))
    assert [each.name for each in artifacts(shown(changed))] == [
        "backlog",
        "decision",
        "progress",
        "jobs",
        "comparison",
        "release",
        "cost",
        "links",
    ]


def test_nothing_is_shown_of_a_home_that_is_empty(changed: Source) -> None:
    assert artifacts(shown(replace(changed, history=History()))) == []


def test_no_markup_of_names_reaches_the_reader(changed: Source) -> None:
    """The findings of the table with a hostile column are shown, and none of it is markup."""
    everything = "\n\n".join(each.data for each in artifacts(shown(changed)) if isinstance(each.data, str))
    assert "<script" not in everything
    hostile = replace(changed.history.cycles[-1].request, reason=f"{HOSTILE} | *now* [x](//evil.example)")
    history = replace(changed.history, cycles=[Cycle(hostile)])
    backlog = named(artifacts(shown(replace(changed, history=history))))["backlog"]
    assert cells(backlog)[1][4] == hostile.reason
    assert not [token for token in READER.parse(text(backlog)) if token.type.startswith("html")]


def test_a_huge_backlog_is_cut_and_its_count_told(changed: Source) -> None:
    request = changed.history.cycles[0].request
    many = [
        Cycle(replace(request, at=request.at + timedelta(minutes=n), score=n % 7, priority_class=each))
        for n in range(500)
        for each in (PriorityClass.BACKGROUND, PriorityClass.URGENT)
    ]
    backlog = named(artifacts(shown(replace(changed, history=replace(changed.history, cycles=many)))))["backlog"]
    rows = cells(backlog)[1:]
    assert len(rows) == 50
    assert {row[1] for row in rows} == {"urgent"}, "the most urgent first"
    assert [int(row[2]) for row in rows] == sorted((int(row[2]) for row in rows), reverse=True)
    assert "and 950 more" in text(backlog)
    assert backlog.summary.startswith("1,000 requests open")


def test_the_points_of_the_families_are_the_score_that_was_decided_on(changed: Source) -> None:
    decision = named(artifacts(shown(changed)))["decision"]
    points = [int(row[1]) for row in cells(decision) if len(row) == 4 and row[1].isdecimal()]
    assert f"## Score {sum(points)} of 1000" in text(decision)
    last = max((each.decisions[-1] for each in changed.history.cycles if each.decisions), key=lambda each: each.at)
    assert decision.about == last.id
    checks = [row[1] for row in cells(decision) if len(row) == 5][1:]
    assert sorted(checks) == sorted(finding.check for finding in last.findings)


def gate(source: Source) -> tuple[str, Notes]:
    """The newest verdict that is shown, and a note on what was measured for it."""
    verdict = next(each for each in reversed(source.history.verdicts) if each.stage is not Stage.REFIT)
    metrics = {
        "auc": 0.71,
        "auc_champion": 0.7,
        "auc_gain": 0.01,
        "auc_gain_lower": 0.002,
        "auc_gain_upper": 0.018,
        "log_loss": 0.65,
        "log_loss_champion": 0.6,
        "log_loss_gain": -0.05,
        "log_loss_gain_lower": -0.06,
        "log_loss_gain_upper": -0.04,
        "brier": 0.2,
    }
    facts = {"metrics": metrics, "tags": {"verdict_id": verdict.id}}
    return verdict.candidate, [{"event": "measured", "serves": verdict.candidate, "at": "", "facts": facts}]


def test_the_comparison_tells_what_was_measured_with_intervals_and_pictures(changed: Source) -> None:
    candidate, notes = gate(changed)
    picture = BytesIO()
    Image.new("RGB", (1260, 396), "white").save(picture, "PNG")
    taken = {candidate: picture.getvalue()}
    comparison = named(artifacts(shown(changed, notes, picture=taken.get)))["comparison"]
    rows = {row[0]: row[1:] for row in cells(comparison)}
    assert rows["AUC (higher is better)"] == ["0.7", "0.71", "+0.01", "+0.002 to +0.018, better"]
    assert [cell.replace(wording.MINUS, "-") for cell in rows["Log loss (lower is better)"][2:]] == [
        "-0.05",
        "-0.06 to -0.04, worse",
    ]
    assert not any(name.startswith("Brier") for name in rows), "it was not measured for both"
    kinds = re.findall(r"data:(image/[a-z+]+);base64,([A-Za-z0-9+/=]+)", text(comparison))
    assert [kind for kind, _ in kinds] == ["image/svg+xml", "image/png"]
    assert Image.open(BytesIO(base64.b64decode(kinds[1][1]))).width == 806


def test_without_measurements_the_comparison_says_so(changed: Source) -> None:
    comparison = named(artifacts(shown(changed)))["comparison"]
    assert "Nothing was measured" in text(comparison)
    assert "data:" not in text(comparison)


def test_the_picture_is_cut_between_its_panels(tmp_path: Any) -> None:
    labels = np.tile([0.0, 1.0], 100)
    meeting = Meeting(labels, labels * 0.5 + 0.2, labels * 0.6 + 0.1, "binary", (Gain("auc", 0.7, 0.8, 0.1, 0.0, 0.2),))
    draw(meeting, "title", tmp_path / "picture.png")
    part = np.asarray(Image.open(BytesIO(panels((tmp_path / "picture.png").read_bytes()))).convert("L"))
    assert (part[60:, -3:] == 255).all(), "nothing is cut through"
    assert (part[60:, : part.shape[1] // 2] < 255).any()


def test_intervals_stand_on_the_side_of_their_gain() -> None:
    drawn = intervals([Gain("auc", 0.5, 0.6, 0.1, 0.05, 0.15), Gain("log_loss", 0.5, 0.6, -0.1, -0.2, 0.01)])
    zero, *others = (float(at) for at in re.findall(r'<line x1="([\d.]+)"', drawn))
    assert others[0] > zero > others[1]


def test_the_release_tells_what_serves_and_what_served_before(changed: Source) -> None:
    releases = changed.history.releases
    notes = [{"event": "registered", "serves": releases[-1].candidate, "at": "", "run": "r1", "version": "7"}]
    release = named(artifacts(shown(changed, notes, mlflow="http://mlflow.example")))["release"]
    rows = {row[0]: row[1:] for row in cells(release) if len(row) == 3}
    assert rows["Release"] == [releases[-1].id, releases[-2].id]
    assert rows["Until"][0] == "now"
    assert rows["In MLflow"] == ["version 7", "not there"]
    assert "[version 7](http://mlflow.example/#/runs/r1)" in text(release)
    assert release.about == releases[-1].id


def test_costs_add_up_over_all_cycles(changed: Source) -> None:
    trained = [cycle for cycle in changed.history.cycles if cycle.jobs]
    jobs = [job for cycle in trained for job in cycle.jobs]
    notes = [{"event": "job_finished", "serves": job.id, "at": "", "cpu_s": 1.5, "lives_cpu_s": 2.5} for job in jobs]
    notes.append({"event": "job_ended", "serves": jobs[0].id, "at": "", "fate": "finished", "restarts": 3})
    cost = named(artifacts(shown(changed, notes)))["cost"]
    *rows, last = cells(cost)[1:]
    assert len(rows) == len(trained)
    assert last[0] == "All"
    assert float(last[3]) == pytest.approx(sum(job.cost_mrow_passes for job in jobs), rel=1e-3)
    assert last[4:7] == [f"{1.5 * len(jobs):.1f} s", f"{len(jobs):.1f} s", "3"]
    assert cells(named(artifacts(shown(changed)))["cost"])[1][4:6] == ["not known", "not known"]


def test_links_lead_from_the_ledger_to_prefect_slurm_and_mlflow(changed: Source) -> None:
    cycle = next(each for each in reversed(changed.history.cycles) if each.candidates)
    notes = [
        {"event": "flow_run", "serves": cycle.request.id, "at": "", "run": "f-1", "name": "retrain, *tame* yak"},
        {"event": "job_submitted", "serves": cycle.jobs[0].id, "at": "", "slurm_job": 41, "attempt": 1},
        {"event": "job_submitted", "serves": cycle.jobs[0].id, "at": "", "slurm_job": 42, "attempt": 2},
        {"event": "registered", "serves": next(iter(cycle.candidates)), "at": "", "run": "r9", "version": "9"},
    ]
    links = named(artifacts(shown(changed, notes, prefect="http://p.example", mlflow="http://m.example")))["links"]
    row = next(row for row in cells(links) if cycle.request.id.startswith(row[0]))
    assert row[1:4] == ["retrain, *tame* yak", "41, 42", "9"]
    assert "(http://p.example/runs/flow-run/f-1)" in text(links)
    assert "[9](http://m.example/#/runs/r9)" in text(links)


def test_a_job_of_which_segments_are_saved_shows_its_share_of_those_that_one_like_it_took(changed: Source) -> None:
    jobs = current(changed.history)
    earlier = next(job for cycle in changed.history.cycles for job in cycle.jobs if job not in jobs)
    at = {"at": ""}
    notes = [
        {"event": "job_finished", "serves": earlier.id, "segments": 4, **at},
        *({"event": "job_intended", "serves": job.id, "attempt": 1, "place": 2, **at} for job in jobs),
        {"event": "job_submitted", "serves": jobs[0].id, "slurm_job": 7, "attempt": 1, **at},
        {"event": "job_finished", "serves": jobs[1].id, "ok": True, **at},
    ]
    stand = going(changed.history, notes, {jobs[0].id: Saved("node-3", 3)})
    assert [each.word for each in stand[:2]] == [RUNNING, FINISHED]
    assert stand[0].share == 0.75
    assert stand[0].slurm_job == "7_2"
    assert percent(stand[:2]) == 87.5
    again = named(artifacts(shown(changed, notes, jobs=stand)))
    assert cells(again["jobs"])[1][-1] == "75%"
    assert again["progress"].data == percent(stand)


@pytest.mark.parametrize(
    ("events", "word"),
    [
        ([], WAITING),
        ([{"event": "job_submitted"}], WAITING),
        ([{"event": "job_ended", "fate": "preempted"}], WAITING),
        ([{"event": "job_given_up", "reason": "no nodes"}], FAILED),
        ([{"event": "job_finished", "ok": False}], FAILED),
    ],
)
def test_a_job_of_unknown_share_tells_how_it_stands(changed: Source, events: Notes, word: str) -> None:
    job = current(changed.history)[0]
    notes = [{"serves": job.id, "at": "", **event} for event in events]
    stand = going(changed.history, notes, {})[0]
    assert (stand.word, stand.share) == (word, None)
    assert cells(named(artifacts(shown(changed, notes)))["jobs"])[1][-1] == "not known"
