from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import pytest
from pages import CPU_S, HOSTILE, LONG, source
from tables import REGRESSION, configure, demand, orders

from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.records import Assessment, Baseline, Closing, Family, Outcome, ReleaseKind
from hpcretrain.report.html import render
from hpcretrain.report.page import Page, Source, page
from hpcretrain.report.whatif import what_if

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made(changed: Source) -> Page:
    return page(changed)


def parsed(text: str) -> Any:
    """The document; a strict parser has nothing to say against it."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def words(text: str) -> str:
    return re.sub(r"\s+", " ", "".join(parsed(text).itertext()))


def test_the_page_is_sound_html_with_its_language_title_and_headings_in_order(made: Page) -> None:
    document = parsed(render(made))
    assert document.get("lang") == "en"
    assert document.findtext("head/title") == f"orders: what retraining did, {made.span}"
    levels = [int(element.tag[1]) for element in document.iter() if str(element.tag) in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [element.get("id") for element in document.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    anchors = [element.get("href")[1:] for element in document.iter("a")]
    assert set(anchors) <= set(ids)


def test_the_first_screen_has_the_model_the_sentence_figures_and_the_chart(made: Page) -> None:
    first = parsed(render(made)).find(".//section")
    text = " ".join("".join(first.itertext()).split())
    assert text.startswith("orders 1 Feb 2024 to")
    assert "Over 3 months, hpcretrain kept AUC at" in text
    assert [name for name in ("served", "frozen", "ungated") if f"{name}:" not in text] == []
    assert len(first.findall(".//dt")) == 5
    assert len(first.findall(f".//figure/div/{SVG}svg")) == 1


def test_every_plot_has_a_title_a_description_and_its_numbers(made: Page) -> None:
    document = parsed(render(made))
    plots = [svg for svg in document.iter(f"{SVG}svg") if svg.get("role") == "img"]
    assert [svg.find(f"{SVG}title").get("id").removesuffix("-title") for svg in plots] == [
        "by-period-auc",
        "by-period-log_loss",
        "score",
        "families",
        "drift",
        "cost",
        "thresholds",
    ]
    for svg in plots:
        assert svg.get("aria-labelledby") == svg.find(f"{SVG}title").get("id")
        assert svg.get("aria-describedby") == svg.find(f"{SVG}desc").get("id")
        assert len(svg.findtext(f"{SVG}desc")) > 20
    assert len(document.findall(".//table")) == 6


def test_nothing_on_the_page_comes_from_elsewhere(made: Page) -> None:
    text = render(made)
    # The hostile name is there, as text.
    assert re.findall(r"https?:|[^=]//\w|url\(|@import|<script|<link|<iframe|javascript:", text) == []
    assert "default-src 'none'" in text
    assert len(text.encode()) < 500_000


def test_periods_show_all_metrics_of_all_arms(changed: Source, made: Page) -> None:
    assert made.periods is not None
    assert [name for name, _ in made.periods.columns] == [
        "Month",
        "Rows",
        *(f"{metric}, {arm}" for metric in ("AUC", "Log loss") for arm in ("served", "frozen", "ungated")),
    ]
    assert changed.result is not None
    for row, period in zip(made.periods.rows, changed.result["periods"], strict=False):
        assert row[2] == f"{period['served']['auc']:.3f}"
        assert row[7] == f"{period['ungated']['log_loss']:.3f}"
    assert made.periods.rows[-1][0] == "Mean"


def test_the_score_is_told_batch_by_batch_and_the_limits_are_the_policys(changed: Source, made: Page) -> None:
    assert made.score is not None
    scores = [str(record.score) for record in changed.history.known.values() if record.kind == "assessment"]
    assert [row[2] for row in made.score.table.rows] == scores
    assert [rule.label for rule in made.score.rules] == ["threshold 300", "withdrawal 200"]
    asked = [mark for curve in made.score.curves for mark in curve.marks]
    assert len(asked) == len(changed.history.cycles)


def test_releases_and_stopped_candidates_are_marked_on_the_charts(changed: Source, made: Page) -> None:
    assert made.main is not None
    closings = [cycle.review.closing for cycle in changed.history.cycles if cycle.review]
    kinds = [mark.kind for mark in made.main.events]
    assert kinds.count("released") == sum(cycle.release is not None for cycle in changed.history.cycles) >= 1
    assert kinds.count("stopped") == closings.count(Closing.REJECTED) >= 1


def test_every_cycle_is_told_with_every_finding_of_its_verdicts_the_failed_first(changed: Source, made: Page) -> None:
    text = words(render(made))
    assert [story.id for story in made.stories] == [cycle.request.id for cycle in changed.history.cycles]
    for cycle, story in zip(changed.history.cycles, made.stories, strict=True):
        for record in (cycle.request, *cycle.decisions, *cycle.jobs, *cycle.verdicts, *cycle.watches):
            assert record.id in text
        for verdict in cycle.verdicts:
            step = next(step for step in story.steps if step.id == verdict.id)
            assert sorted(each.reason for each in step.evidence) == sorted(each.reason for each in verdict.findings)
            severities = [Outcome(each.outcome).severity for each in step.evidence]
            assert severities == sorted(severities, reverse=True)
            assert all(" ".join(each.reason.split()) in text for each in verdict.findings)


def test_bad_data_is_shown_with_what_was_wrong(changed: Source, made: Page) -> None:
    assert [bad.span for bad in made.quarantined] == ["11 Apr 2024 to 17 Apr 2024"]
    assert "amount" in " ".join(each.reason for each in made.quarantined[0].evidence)
    assert made.figures[-1].value == "1"


def test_cost_is_summed_up_on_both_sides(changed: Source, made: Page) -> None:
    assert made.cost is not None
    jobs = sum(len(cycle.jobs) for cycle in changed.history.cycles)
    told = [f"hpcretrain {CPU_S * jobs:.1f} s", f"ungated {2 * CPU_S:.1f} s"]
    assert [curve.label for curve in made.cost.curves] == told


def test_drift_names_the_feature_that_moved_first(tmp_path: Path) -> None:
    table = orders(rows=6_000, minutes=20, change_at=None)
    table["noise"] = np.where(np.arange(6_000) > 4_000, table["noise"] + 2.0, table["noise"])
    made = page(source(configure(tmp_path, table), tmp_path / "home", compare=False))
    assert made.drift is not None
    assert made.drift.lanes[0].label == made.drift.table.rows[0][0] == "noise"
    assert {"l4"} <= {curve.name for curve in made.drift.curves}


def test_the_policys_own_threshold_gives_the_requests_that_were_made(changed: Source) -> None:
    assessments = [record for record in changed.history.known.values() if isinstance(record, Assessment)]
    rows = what_if(changed.history, assessments, changed.policy)
    own = next(row for row in rows if row.current)
    assert list(own.asked) == [cycle.request.at for cycle in changed.history.cycles]
    firsts = [row.asked[0] for row in rows if row.asked]
    assert firsts == sorted(firsts)
    assert len(firsts) >= 3


def test_what_if_asks_for_nothing_at_the_moment_of_a_roll_back(changed: Source) -> None:
    history = changed.history
    asked = history.cycles[0].request.at
    back = dataclasses.replace(history.releases[-1], release_kind=ReleaseKind.ROLLBACK, at=asked)
    assessments = [record for record in history.known.values() if isinstance(record, Assessment)]
    rows = what_if(dataclasses.replace(history, releases=[*history.releases, back]), assessments, changed.policy)
    assert all(asked not in row.asked for row in rows)


def test_an_unfinished_backtest_shows_what_there_is_and_says_so(changed: Source) -> None:
    made = page(dataclasses.replace(changed, result=None, ungated_cpu_s=()))
    text = words(render(made))
    assert "This backtest is not finished" in text
    assert made.main is None
    assert made.periods is None
    assert made.score is not None
    assert made.stories
    assert "#periods" not in render(made)


def test_names_from_the_table_and_the_policy_are_text_and_nothing_else(made: Page) -> None:
    document = parsed(render(made))
    assert {str(element.tag) for element in document.iter()} & {"script", "img"} == set()
    cells = [cell.text for cell in document.iter("th")]
    assert {HOSTILE, LONG} <= set(cells)
    assert f"\N{LEFT DOUBLE QUOTATION MARK}{HOSTILE}" in "".join(document.itertext())


def test_a_regression_on_which_less_is_better_is_told_the_right_way_round(tmp_path: Path) -> None:
    made = page(source(configure(tmp_path, demand(rows=4_500, minutes=40), **REGRESSION), tmp_path / "home"))
    assert made.main is not None
    assert made.main.title == "RMSE by month; lower is better"
    assert "hpcretrain kept RMSE at" in made.sentence
    assert made.figures[0].value.endswith(" RMSE less")
    assert "better" in made.figures[0].note
    parsed(render(made))


def test_metrics_that_are_not_defined_leave_gaps_and_are_said(changed: Source) -> None:
    result = dict(changed.result or {})
    periods = [dict(period) for period in result["periods"]]
    periods[1]["served"] = {"auc": None, "log_loss": None}
    for arm in ("served", "frozen", "ungated"):
        periods[2][arm] = {"auc": None, "log_loss": None}
    made = page(dataclasses.replace(changed, result=result | {"periods": periods}))
    assert made.periods is not None
    assert made.periods.rows[1][2] == "not defined"
    text = render(made)
    parsed(text)
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", text)


def test_a_table_that_ends_with_the_reference_has_a_page_too(tmp_path: Path) -> None:
    table = orders(rows=2_400, minutes=20)
    made = page(source(configure(tmp_path, table), tmp_path / "home"))
    assert made.score is None
    assert made.stories == ()
    assert "No batch was scored yet" in words(render(made))
    assert "nothing was retrained" in made.sentence


def test_before_anything_serves_there_is_no_page(changed: Source) -> None:
    with pytest.raises(InputError, match="nothing serves in this home yet"):
        page(dataclasses.replace(changed, history=History()))
    baseline = next(record for record in changed.history.known.values() if isinstance(record, Baseline))
    with pytest.raises(InputError, match="nothing serves in this home yet"):
        page(dataclasses.replace(changed, history=History.fold([baseline])))


def test_the_page_says_what_it_was_made_of(changed: Source, made: Page) -> None:
    told = dict(made.provenance)
    assert changed.history.baseline is not None
    assert told["Ledger head"] == changed.ledger_head
    assert changed.history.baseline.policy_digest in told["Policy"]
    assert changed.history.baseline.config_digest in told["Configuration"]
    assert render(made) == render(page(changed))


def test_many_batches_and_cycles_make_no_huge_page(changed: Source) -> None:
    known = dict(changed.history.known)
    for number in range(300):
        for record in changed.history.known.values():
            if record.kind == "assessment" or getattr(record, "family", None) is Family.INPUT_DRIFT:
                later = dataclasses.replace(record, at=record.at + timedelta(days=100 * (number + 1)))
                known[later.id] = later
    history = dataclasses.replace(changed.history, known=known, cycles=changed.history.cycles * 100)
    made = page(dataclasses.replace(changed, history=history))
    assert made.batches > 3_000
    assert made.score is not None
    assert len(made.score.table.rows) == 400
    assert "are left out" in made.score.table.note
    text = render(made)
    assert all(f"hpcretrain explain {story.id}" in text for story in made.stories[:-40])
    assert len(text.encode()) < 850_000
