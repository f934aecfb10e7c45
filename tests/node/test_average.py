from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from jobs_for_tests import CATEGORICAL, FrameTable, data, frame, job, train, trainer

from hpcretrain.adapters.submitit import LocalTrainer
from hpcretrain.errors import InputError, ModelFileError
from hpcretrain.node.average import Average
from hpcretrain.node.model import MANIFEST, verify
from hpcretrain.node.predict import LoadedModel

TABLE = FrameTable(frame())


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two fits that differ."""
    home = tmp_path_factory.mktemp("fits")
    for seed in (1, 2):
        train(trainer(home, TABLE), job(seed=seed), TABLE.rows())
    return home


@pytest.fixture
def home(fits: Path, tmp_path: Path) -> Path:
    shutil.copytree(fits / "models", tmp_path / "models")
    return tmp_path


def members(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "models").iterdir())


def made(home: Path) -> LocalTrainer:
    return trainer(home, TABLE)


def predictions(home: Path, digest: str) -> npt.NDArray[np.float64]:
    folder = home / "models" / digest
    return LoadedModel.load(folder, verify(folder, digest)).predict(TABLE.frame(TABLE.rows()))


def test_an_average_predicts_the_mean_of_its_members(home: Path) -> None:
    digests = members(home)
    average = made(home).average(digests)
    first, second = (predictions(home, each) for each in digests)
    assert not np.array_equal(first, second)
    assert predictions(home, average) == pytest.approx((first + second) / 2)
    assert verify(home / "models" / average, average).categorical == CATEGORICAL


def test_an_average_is_the_same_whenever_it_is_made(home: Path) -> None:
    digests = members(home)
    average = made(home).average(digests)
    left = home / "models" / ".average.part"
    left.mkdir()
    (left / "of a controller that was killed").touch()
    assert made(home).average(digests) == average
    assert not left.exists()
    shutil.rmtree(home / "models" / average)
    assert made(home).average(digests) == average


def test_an_average_needs_the_folders_of_its_members_no_more(home: Path) -> None:
    digests = members(home)
    average = made(home).average(digests)
    for each in digests:
        shutil.rmtree(home / "models" / each)
    assert np.isfinite(predictions(home, average)).all()


def test_a_member_that_was_exchanged_is_not_averaged(home: Path) -> None:
    first, second = members(home)
    shutil.rmtree(home / "models" / first)
    shutil.copytree(home / "models" / second, home / "models" / first)
    with pytest.raises(ModelFileError, match="altered"):
        made(home).average([first, second])
    assert members(home) == [first, second]


def test_an_average_with_an_altered_member_is_not_loaded(home: Path) -> None:
    average = made(home).average(members(home))
    member = home / "models" / average / "member-1"
    model = next(path for path in member.iterdir() if path.name != MANIFEST)
    model.write_text(model.read_text().replace("0.", "1.", 1))
    with pytest.raises(ModelFileError, match="altered"):
        predictions(home, average)
    with pytest.raises(ModelFileError, match=model.name):
        Average().load(home / "models" / average)


def test_a_member_that_is_missing_is_named(home: Path) -> None:
    first, second = members(home)
    shutil.rmtree(home / "models" / second)
    with pytest.raises(ModelFileError, match=second):
        made(home).average([first, second])


def test_averages_are_not_trained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="members"):
        next(Average().train(data(), seed=1, threads=1, resume=None))
    with pytest.raises(InputError, match="built"):
        Average().save([], tmp_path)
