"""A model's folder: what the recipe saved, and `recipe.json`, which says how to load it and what the files hold.

A folder is known by its digest. Formats of models are not safe to read when damaged (LightGBM's loader takes the
process down), so a folder is checked before anything in it is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcretrain.errors import InputError, ModelFileError
from hpcretrain.node.durable import sync_all

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "recipe.json"


@dataclass(frozen=True)
class Manifest:
    """How a model is loaded, and which features it wants, in order; `categorical` names those that are text."""

    recipe: str
    params: Mapping[str, Any]
    task: str
    features: tuple[str, ...]
    categorical: tuple[str, ...]


def seal(folder: Path, manifest: Manifest) -> str:
    """Write `recipe.json` beside the files of a saved model, and all of them to the disk; the folder's digest.

    Raises:
        InputError: The recipe wrote a file of that name.
    """
    if (folder / MANIFEST).exists():
        raise InputError(f"the recipe saved a file named {MANIFEST}, which hpcretrain writes itself; use another name")
    content = {**asdict(manifest), "files": _files(folder)}
    (folder / MANIFEST).write_text(_json(content) + "\n", encoding="utf-8")
    sync_all(folder)
    return digest(folder)


def digest(folder: Path) -> str:
    """SHA-256 over the names, relative to `folder` and sorted, and the SHA-256 of all files in it."""
    return hashlib.sha256(_json(_files(folder)).encode()).hexdigest()


def verify(folder: Path, expected: str) -> Manifest:
    """The manifest of the model in `folder`, once its digest is found to be `expected`.

    Raises:
        ModelFileError: The folder is missing, or its digest is another.
    """
    if not (folder / MANIFEST).is_file():
        raise ModelFileError(f"{folder}: there is no model here; restore it, or start anew in another home")
    found = digest(folder)
    if found != expected:
        raise ModelFileError(
            f"{folder}: the files were altered or cut short: their digest is {found}, recorded was {expected}; "
            "restore them, or start anew in another home"
        )
    return _read(folder)


def check(folder: Path) -> Manifest:
    """The manifest of the model in `folder`, once all files are found to be those that it lists.

    Raises:
        ModelFileError: A file is missing, altered or not listed.
    """
    manifest = _read(folder)
    listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    found = {name: value for name, value in _files(folder).items() if name != MANIFEST}
    wrong = sorted(name for name in listed.keys() | found.keys() if listed.get(name) != found.get(name))
    if wrong:
        raise ModelFileError(f"{folder}: not as it was saved: {', '.join(wrong)}; restore the folder")
    return manifest


def conform(frame: pd.DataFrame, features: tuple[str, ...], categorical: tuple[str, ...]) -> pd.DataFrame:
    """The features in order: numbers as float64 (NaN for what is none), categories as objects (str, None).

    Whole numbers in a category read as integers, as they do when a table is read.

    Raises:
        InputError: A feature is missing.
    """
    import pandas as pd

    missing = [name for name in features if name not in frame.columns]
    if missing:
        raise InputError(f"the model needs columns that are not given: {', '.join(missing)}")
    return pd.DataFrame(
        {name: _texts(frame[name]) if name in categorical else _numbers(frame[name]) for name in features}
    )


def _numbers(cells: pd.Series) -> pd.Series:
    import pandas as pd

    if cells.dtype == "float64":
        return cells
    return pd.to_numeric(cells.astype(object), errors="coerce").astype("float64")


def _texts(cells: pd.Series) -> pd.Series:
    import numpy as np
    import pandas as pd

    codes, values = pd.factorize(cells.astype(object))
    # Code -1, a missing cell, takes the last.
    texts = np.array([*(_text(value) for value in values), None], dtype=object)
    return pd.Series(texts[codes], index=cells.index, dtype=object)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _read(folder: Path) -> Manifest:
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return Manifest(
            recipe=content["recipe"],
            params=content["params"],
            task=content["task"],
            features=tuple(content["features"]),
            categorical=tuple(content["categorical"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{folder / MANIFEST}: cannot be read ({error!r}); restore the folder") from error


def _files(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
