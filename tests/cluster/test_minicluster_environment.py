from __future__ import annotations

import dataclasses
import pwd
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicluster import Cluster, Failed
from minicluster.environment import Parts, make


@pytest.fixture
def closed(tmp_path: Path) -> Parts:
    """Packages and source where only root looks, one file of them closed to others itself."""
    tmp_path.chmod(0o700)
    parts = Parts.here()
    shutil.copytree(parts.source, tmp_path / "src")
    package = tmp_path / "packages" / "brought"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from brought.secret import ANSWER\n")
    (package / "secret.py").write_text("ANSWER = 42\n")
    (package / "secret.py").chmod(0o600)
    return dataclasses.replace(parts, packages=tmp_path / "packages", source=tmp_path / "src")


@pytest.fixture
def folder(cluster: Cluster) -> Iterator[Path]:
    """Where the ordinary user gets."""
    made = cluster.state / "another-python"
    yield made
    shutil.rmtree(made, ignore_errors=True)


def said(cluster: Cluster, python: Path, program: str) -> str:
    done = cluster.run([str(python), "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(done.stdout.strip())


def test_what_the_user_cannot_read_is_brought_and_not_touched(cluster: Cluster, closed: Parts, folder: Path) -> None:
    before = {path: path.stat().st_mode for path in closed.packages.parent.rglob("*")}
    python = make(folder, pwd.getpwnam(cluster.user), closed)
    assert said(cluster, python, "import brought; print(brought.ANSWER)") == "42"
    assert {path: path.stat().st_mode for path in closed.packages.parent.rglob("*")} == before
    assert stat.S_IMODE(before[closed.packages / "brought" / "secret.py"]) == 0o600


def test_an_edit_of_the_source_and_a_new_package_reach_the_nodes(cluster: Cluster, closed: Parts, folder: Path) -> None:
    user = pwd.getpwnam(cluster.user)
    python = make(folder, user, closed)
    (closed.source / "hpcretrain" / "new.py").write_text("WORD = 'edited'\n")
    (closed.source / "hpcretrain" / "backtest.py").unlink()
    (closed.packages / "later.py").write_text("")
    make(folder, user, closed)
    assert said(cluster, python, "import later, hpcretrain.new; print(hpcretrain.new.WORD)") == "edited"
    there = "import importlib.util; print(importlib.util.find_spec('hpcretrain.backtest'))"
    assert said(cluster, python, there) == "None"


def test_a_source_that_does_not_import_is_told(cluster: Cluster, closed: Parts, folder: Path) -> None:
    (closed.source / "hpcretrain" / "__init__.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(Failed, match=r"(?s)cannot import hpcretrain by .*nothing_of_this_name"):
        make(folder, pwd.getpwnam(cluster.user), closed)
