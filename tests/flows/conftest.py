from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from prefect_server import own_server, prefect_server
from steered import BEFORE, Steered, set_up
from tables import configure, orders

from hpcretrain.adapters.prefect_server import PrefectServer
from hpcretrain.livehome import start_live
from hpcretrain.ways import tick

__all__ = ["own_server", "prefect_server"]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a champion, right before a batch that drifted."""
    place = tmp_path_factory.mktemp("base")
    config = configure(place, orders(rows=8_000, minutes=16, change_at=0.4))
    start_live(config, place / "home", from_time=datetime.fromisoformat(f"{BEFORE}T00:00:00Z"))
    while not tick(place / "home")["serves"]:
        time.sleep(0.2)
    return place / "home"


@pytest.fixture
def steered(prefect_server: PrefectServer, base: Path, tmp_path: Path) -> Iterator[Steered]:
    """A copy of that home, set up in Prefect; its schedules are off."""
    with set_up(shutil.copytree(base, tmp_path / "home"), prefect_server) as steered:
        yield steered
