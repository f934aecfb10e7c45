from __future__ import annotations

import numpy as np
import pytest
from pages import HOSTILE, LONG, source
from tables import configure, orders, write_policy

from hpcretrain.report.page import Source


@pytest.fixture(scope="session")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A replay in which the rule turns round, with one bad batch, a long name, and names that would be markup."""
    folder = tmp_path_factory.mktemp("changed")
    table = orders(rows=8_000, minutes=20).rename(columns={"days": LONG, "noise": HOSTILE})
    table.loc[(table["time"] >= "2024-04-11") & (table["time"] < "2024-04-18"), "amount"] = np.nan
    policy = write_policy(folder)
    text = (folder / "policy.toml").read_text().replace('name = "standard"', f"name = '''{HOSTILE}'''")
    (folder / "policy.toml").write_text(text)
    return source(configure(folder, table, **policy), folder / "home")
