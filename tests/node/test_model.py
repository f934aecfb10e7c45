from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpcretrain.errors import InputError, ModelFileError
from hpcretrain.node.model import Manifest, check, conform, digest, seal, verify

MANIFEST = Manifest("lightgbm", {"rounds": 3}, "binary", ("x", "c"), ("c",))


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "weights").write_bytes(b"abcdef")
    (folder / "part" / "words").write_text("x y")
    return folder, seal(folder, MANIFEST)


def test_a_sealed_folder_is_verified_and_gives_its_manifest_wherever_it_is_moved(
    sealed: tuple[Path, str], tmp_path: Path
) -> None:
    folder, known = sealed
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert verify(moved, known) == check(moved) == MANIFEST


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "weights").write_bytes(b"abcdeF"),
        lambda folder: (folder / "weights").write_bytes(b"abc"),
        lambda folder: (folder / "weights").unlink(),
        lambda folder: (folder / "weights").rename(folder / "part" / "weights"),
        lambda folder: (folder / "extra").write_bytes(b""),
        lambda folder: (folder / "recipe.json").write_text("{}"),
        lambda folder: shutil.rmtree(folder),
    ],
    ids=["edited", "truncated", "removed", "moved", "added", "manifest", "gone"],
)
def test_a_folder_that_is_not_as_it_was_sealed_is_refused(
    sealed: tuple[Path, str], harm: Callable[[Path], object]
) -> None:
    folder, known = sealed
    harm(folder)
    with pytest.raises(ModelFileError, match=str(folder)):
        verify(folder, known)
    with pytest.raises(ModelFileError, match=str(folder)):
        check(folder)


def test_the_digest_depends_on_names_and_contents_and_on_nothing_else(sealed: tuple[Path, str]) -> None:
    folder, known = sealed
    (folder / "weights").chmod(0o400)
    assert digest(folder) == known
    (folder / "weights").rename(folder / "weights2")
    assert digest(folder) != known


def test_a_recipe_may_not_write_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("mine")
    with pytest.raises(InputError, match=r"recipe\.json"):
        seal(tmp_path, MANIFEST)


def test_features_are_put_in_order_and_form() -> None:
    frame = pd.DataFrame(
        {
            "c": [1.0, np.nan, 2.5],
            "more": [0, 0, 0],
            "d": pd.Series(["a", None, "b"], dtype="str"),
            "x": pd.Series([1, "text", None], dtype=object),
            "flag": [True, False, True],
        }
    )
    formed = conform(frame, ("x", "flag", "c", "d"), ("c", "d"))
    assert list(formed.columns) == ["x", "flag", "c", "d"]
    np.testing.assert_array_equal(formed["x"].to_numpy(dtype=np.float64), [1.0, np.nan, np.nan])
    assert formed.dtypes.astype(str).tolist() == ["float64", "float64", "object", "object"]
    assert formed["c"].tolist() == ["1", None, "2.5"]
    assert formed["d"].tolist() == ["a", None, "b"]


def test_a_missing_feature_is_named() -> None:
    with pytest.raises(InputError, match="y, z"):
        conform(pd.DataFrame({"x": [1.0]}), ("x", "y", "z"), ())
