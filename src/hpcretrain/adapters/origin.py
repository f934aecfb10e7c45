"""Where a model comes from besides its rows: the code, the environment and the table, as a run in MLflow shows them."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from getpass import getuser
from importlib.metadata import distributions, version
from pathlib import Path

from hpcretrain.adapters.git import commit_of
from hpcretrain.canonical import sha256


@dataclass(frozen=True)
class Origin:
    """What is the same for all runs of one process.

    `tags` and `params` go to every run; `environment` lists the installed distributions, one `name==version` a line;
    `table` names the user's table, which lies at `source` and has `columns`, pairs of name and type; `metric` is the
    primary one.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    table: str = "table"
    source: str = ""
    columns: Sequence[tuple[str, str]] = ()
    metric: str = ""

    @property
    def schema(self) -> str:
        """The columns as MLflow shows a table's schema."""
        columns = [{"name": name, "type": kind, "required": False} for name, kind in self.columns]
        return json.dumps({"mlflow_colspec": columns})


def code(files: Sequence[Path], source: str, recipe: Path | None) -> dict[str, str]:
    """Tags that name the code: hpcretrain, the configuration with the files that it names, and a recipe of one's own.

    Args:
        files: The configuration, and files beside it that it names, such as the policy.
        source: Where people find the configuration.
        recipe: The recipe's module; None for one that ships with hpcretrain.
    """
    mine = commit_of(files)
    tags = {
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": source,
        "mlflow.user": _user(),
        "hpcretrain.version": version("hpcretrain"),
        **{f"hpcretrain.config_{key}": value for key, value in mine.items()},
    }
    if "dirty" in mine:
        tags["mlflow.source.git.commit"] = mine["commit"]
    if recipe is not None:
        tags["hpcretrain.recipe_file"] = str(recipe)
        tags["hpcretrain.recipe_sha256"] = hashlib.sha256(recipe.read_bytes()).hexdigest()
        tags |= {f"hpcretrain.recipe_{key}": value for key, value in commit_of([recipe]).items()}
    return tags


def recipe_file(recipe: str) -> Path | None:
    """The file of a user's recipe, whose module was imported before; None for one that ships with hpcretrain."""
    module = sys.modules.get(recipe.partition(":")[0]) if ":" in recipe else None
    file = getattr(module, "__file__", None)
    return Path(file) if file else None


def environment() -> tuple[dict[str, str], str]:
    """Tags that name the environment of this process, and its distributions, one `name==version` a line, sorted."""
    names: dict[str, str] = {}
    for each in distributions():
        # The first on the path is the one that is imported.
        names.setdefault((each.metadata["Name"] or "unnamed").lower().replace("_", "-"), each.version)
    text = "".join(f"{name}=={number}\n" for name, number in sorted(names.items()))
    tags = {"python": platform.python_version(), "platform": platform.platform(), "environment_digest": sha256(text)}
    return {f"hpcretrain.{name}": value for name, value in tags.items()}, text


def _user() -> str:
    try:
        return getuser()
    except (OSError, KeyError):  # a user identifier without a name, as in some containers
        return "unknown"
