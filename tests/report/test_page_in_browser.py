"""The page in a real Chromium: what a reader sees, hears from a screen reader, and prints."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from hpcretrain.report.html import render
from hpcretrain.report.page import Source, page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: apt-get install chromium")

# A container may have no sandbox to give, and the page asks for nothing from outside.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
WIDTHS = (1280, 700, 390)
OPEN = "document.querySelectorAll('details').forEach(each => each.open = true)"
TEXTS = """() => [...document.querySelectorAll('.plot > svg')].map(svg => [...svg.querySelectorAll('text')]
    .filter(text => text.getClientRects().length)
    .map(text => { const box = text.getBoundingClientRect();
                   return [text.textContent, box.left, box.right, box.top, box.bottom]; }))"""
COLORS = """() => {
    const all = (selector, key) =>
        [...document.querySelectorAll(selector)].map(each => [each.className.baseVal, getComputedStyle(each)[key]]);
    return {
        ground: getComputedStyle(document.body).backgroundColor,
        texts: all('.plot text', 'fill'),
        lines: [
            ...all('.plot .curve:not(.shade):not(.family):not(.total)', 'stroke'),
            ...all('.plot .rule:not(.lane)', 'stroke'),
            ...all('.plot .stopped', 'stroke'),
            ...all('.plot .family', 'fill'),
            ...all('.plot .released', 'fill'),
        ],
    };
}"""


@pytest.fixture(scope="module")
def file(changed: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as a file."""
    path = tmp_path_factory.mktemp("browser") / "report.html"
    path.write_text(render(page(changed)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def show(browser: Any, file: Path) -> Iterator[Any]:
    """Opens the page: `show(width=..., scheme=...)`."""
    contexts = []

    def opened(width: int = 1280, scheme: str = "light") -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme))
        tab = contexts[-1].new_page()
        tab.goto(file.as_uri())
        return tab

    yield opened
    for context in contexts:
        context.close()


def luminance(color: str) -> float:
    """Of `rgb(r, g, b)`, by WCAG 2.2."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_browser_has_nothing_to_complain_of_and_asks_for_nothing(browser: Any, file: Path) -> None:
    tab = browser.new_page()
    heard: list[str] = []
    tab.on("console", lambda message: heard.append(message.text))
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.on("request", lambda request: heard.append(request.url))
    tab.goto(file.as_uri(), wait_until="networkidle")
    tab.close()
    assert heard == [file.as_uri()]


def test_the_first_screen_holds_the_sentence_the_figures_and_the_chart(show: Any) -> None:
    tab = show(1280)
    bottom = tab.evaluate("document.querySelector('.first .plot').getBoundingClientRect().bottom")
    assert bottom < 800
    assert tab.evaluate("document.querySelector('.first .plot').getBoundingClientRect().height") > 250


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(show: Any, width: int) -> None:
    tab = show(width)
    tab.evaluate(OPEN)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    outside = [text for plot in tab.evaluate(TEXTS) for text in plot if text[1] < 0 or text[2] > width]
    assert outside == []


@pytest.mark.parametrize("width", [*WIDTHS, "print"])
def test_no_words_of_a_plot_lie_on_others(show: Any, width: int | str) -> None:
    # An A4 page within its margins is 688 pixels of CSS wide.
    tab = show(688 if width == "print" else width)
    tab.emulate_media(media="print" if width == "print" else "screen")
    plots = tab.evaluate(TEXTS)
    assert len(plots) == 7
    for plot in plots:
        for one, other in combinations(plot, 2):
            across = min(one[2], other[2]) - max(one[1], other[1])
            down = min(one[4], other[4]) - max(one[3], other[3])
            assert across <= 0 or down <= 3, (one, other)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_lines_of_plots_stand_out_from_the_ground(show: Any, scheme: str) -> None:
    seen = show(scheme=scheme).evaluate(COLORS)
    assert len(seen["texts"]) > 50
    assert len(seen["lines"]) > 10
    assert [name for name, color in seen["texts"] if contrast(color, seen["ground"]) < 4.5] == []
    assert [name for name, color in seen["lines"] if contrast(color, seen["ground"]) < 3] == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_a_checker_of_accessibility_finds_no_violation(show: Any, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    tab = show(width, scheme)
    tab.evaluate(OPEN)
    found = Axe().run(tab, options={"resultTypes": ["violations"]}).response
    assert len(found["passes"]) > 20
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []


def test_scripts_do_not_run_on_the_page(show: Any) -> None:
    tab = show()
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    tab.wait_for_timeout(50)
    assert tab.evaluate("window.ran") is None


def test_it_prints_on_a4_in_dark_ink_with_whole_charts(show: Any) -> None:
    tab = show(scheme="dark")
    printed = tab.pdf(prefer_css_page_size=True)
    boxes = {tuple(round(float(n)) for n in box.split()) for box in re.findall(rb"/MediaBox \[([^]]+)\]", printed)}
    assert boxes == {(0, 0, 595, 842)} or boxes == {(0, 0, 596, 842)} or boxes == {(0, 0, 595, 843)}, boxes
    assert 4 <= len(re.findall(rb"/Type /Page\b(?!s)", printed)) <= 10
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 688, "height": 1000})
    assert contrast(tab.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)") == 1
    assert tab.evaluate("getComputedStyle(document.querySelector('.top nav')).display") == "none"
    heights = tab.evaluate("[...document.querySelectorAll('figure')].map(each => each.getBoundingClientRect().height)")
    assert max(heights) < 900
    assert tab.evaluate(
        "[...document.querySelectorAll('figure')].every(e => getComputedStyle(e).breakInside == 'avoid')"
    )
