from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """A life that is lived in this process closes all files that are made from then on; the next test's are its own."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


def refused(report: Any) -> Any:
    """A skipped test's report as a failure where nothing may be skipped (CI sets HPCRETRAIN_NO_SKIPS=1)."""
    if os.environ.get("HPCRETRAIN_NO_SKIPS") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return refused((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return refused((yield))


@pytest.fixture(scope="session")
def governed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a governed home, to be copied; see `governed_home`."""
    from governed_home import make

    return make(tmp_path_factory.mktemp("governed"))
