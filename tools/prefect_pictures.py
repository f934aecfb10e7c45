"""Take pictures of what Prefect shows of a home: `python tools/prefect_pictures.py HOME docs/pictures [NAME ...]`.

A Prefect server is started for it in a temporary folder, the home is published to it by a flow (which the ledger of the
home then names), and each artifact is looked at in Prefect's pages. It wants Chromium on PATH. NAME is that of an
artifact, such as `backlog`; or `artifacts`, all of them at a glance; or `events`, the feed. Default: everything.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from hpcretrain.adapters.prefect_server import PASSWORD, PrefectServer, start, stop

WIDTH, SIDE, HIGHEST, COLORS = 1280, 256, 2500, 96
FEED_HEIGHT = 1200
SETTLE_MS = 2500
HEIGHT = "Math.max(...[...document.querySelectorAll('main, main *')].map(e => e.getBoundingClientRect().bottom))"


def publish(home: Path) -> None:
    """Publish a home as flows do."""
    from prefect import flow

    from hpcretrain.flows import publish as publishing

    @flow(name="hpcretrain-reconcile")
    def reconcile() -> None:
        publishing.publish(home)

    reconcile()


def pages() -> dict[str, str]:
    """The path of the page of each artifact."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/latest/filter", json={}).json()
    paths = {each["key"].rpartition("-")[2]: f"/artifacts/artifact/{each['latest_id']}" for each in found}
    # The feed last: events are stored some seconds after they were taken.
    return {"artifacts": "/artifacts", **paths, "events": "/events?events=%5B%22hpcretrain.*%22%5D"}


def take(page: Page, address: str, picture: Path) -> None:
    """A page beside its menu, down to where its content ends, in few colors."""
    page.set_viewport_size({"width": WIDTH, "height": 800})
    page.goto(address)
    page.wait_for_timeout(SETTLE_MS)
    height = min(FEED_HEIGHT if "/events" in address else HIGHEST, round(page.evaluate(HEIGHT)) + 16)
    page.set_viewport_size({"width": WIDTH, "height": max(height, 300)})
    page.wait_for_timeout(SETTLE_MS)
    taken = page.screenshot(clip={"x": SIDE, "y": 0, "width": WIDTH - SIDE, "height": height})
    few = Image.open(BytesIO(taken)).convert("RGB").quantize(COLORS)
    few.save(picture, optimize=True)


def look(server: PrefectServer, folder: Path, names: list[str]) -> None:
    """Take the pictures of a server's pages."""
    password = (server.folder / PASSWORD).read_text(encoding="utf-8").strip()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light")
        page.goto(f"{server.page}/login")
        page.fill("input", password)
        page.keyboard.press("Enter")
        page.wait_for_timeout(SETTLE_MS)
        for name, path in pages().items():
            if not names or name in names:
                take(page, f"{server.page}/v2{path}", folder / f"prefect-{name}.png")
        browser.close()


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp(prefix="prefect-pictures-")) / "server"
    try:
        running = start(place)
        os.environ |= running.environment()
        publish(Path(sys.argv[1]))
        look(running, Path(sys.argv[2]), sys.argv[3:])
    finally:
        stop(place)
        shutil.rmtree(place.parent)
