"""Take the picture of a page: `python tools/picture.py .hpcretrain/report.html docs/pictures/report.png`.

It wants Chromium on PATH, and looks best with the font Inter installed (on Debian: chromium, fonts-inter).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, SCALE, BELOW = 1180, 1.5, 18


def take(page: Path, picture: Path) -> None:
    """The first section of a page, in light colors, as PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(
            viewport={"width": WIDTH, "height": 800}, device_scale_factor=SCALE, color_scheme="light"
        )
        tab.goto(page.resolve().as_uri())
        bottom = tab.evaluate("document.querySelector('.first > figure').getBoundingClientRect().bottom")
        tab.screenshot(path=picture, clip={"x": 0, "y": 0, "width": WIDTH, "height": bottom + BELOW})
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
