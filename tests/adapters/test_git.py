from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hpcretrain.adapters.git import commit_of


def git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", folder, *settings, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with one committed configuration."""
    git(tmp_path, "init", "-q")
    (tmp_path / "config.toml").write_text("a = 1\n")
    git(tmp_path, "add", "config.toml")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_a_committed_file_is_clean(tree: Path) -> None:
    assert commit_of([tree / "config.toml"]) == {"commit": git(tree, "rev-parse", "HEAD"), "dirty": "false"}


def test_a_changed_file_is_dirty(tree: Path) -> None:
    (tree / "config.toml").write_text("a = 2\n")
    assert commit_of([tree / "config.toml"])["dirty"] == "true"


@pytest.mark.parametrize("ignored", ["", "policy.toml\n"])
def test_a_file_outside_the_commit_is_dirty_even_when_git_ignores_it(ignored: str, tree: Path) -> None:
    (tree / ".git" / "info" / "exclude").write_text(ignored)
    (tree / "policy.toml").write_text("b = 1\n")
    assert commit_of([tree / "config.toml", tree / "policy.toml"])["dirty"] == "true"
    assert commit_of([tree / "config.toml"])["dirty"] == "false"


def test_outside_a_work_tree_and_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    if not any((parent / ".git").exists() for parent in tmp_path.parents):
        assert commit_of([tmp_path / "a"])["commit"].startswith("none: not a git repository")
    git(tmp_path, "init", "-q")
    assert commit_of([tmp_path / "a"]) == {"commit": "none: nothing is committed yet"}


def test_without_git_there_is_none(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tree))
    assert commit_of([tree / "config.toml"]) == {"commit": "none: git is not installed"}


def test_variables_of_another_repository_do_not_mislead(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", os.devnull)
    assert commit_of([tree / "config.toml"])["commit"] == git_head(tree)


def git_head(tree: Path) -> str:
    head = (tree / ".git" / "HEAD").read_text().split()[-1]
    return (tree / ".git" / head).read_text().strip()
