from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from jobs_for_tests import SLOW_MEAN, FrameTable, at_work, frame, job, saved, train, trainer, wait_for

from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.submitit import LocalTrainer
from hpcretrain.errors import HpcretrainError, ModelFileError, TrainingError
from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.model import verify
from hpcretrain.ports import Rows, Trained
from hpcretrain.records import Job

RECIPE = "slow:SlowMean"


def home(path: Path) -> Path:
    """A home with a user's recipe beside the configuration."""
    path.mkdir(exist_ok=True)
    (path / "slow.py").write_text(SLOW_MEAN)
    return path


def slow_job(place: Path) -> JobFolder:
    return JobFolder(place / "spool" / "jobs" / job(recipe=RECIPE).id)


def events(place: Path) -> Counter[str]:
    return Counter(str(note["event"]) for note in FileLedger(place / "ledger.jsonl").notes())


def submitted(place: Path) -> bool:
    # The spool is made once the ledger is there.
    return (place / "spool").exists() and events(place)["job_submitted"] > 0


def controller(place: Path, recipe: str = "lightgbm", **params: object) -> subprocess.Popen[str]:
    """A controller in a process of its own, which trains the job and prints the model's digest."""
    # Whatever started the tests may have had interrupts ignored, and that is inherited.
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from jobs_for_tests import FrameTable, frame, job, train, trainer
table = FrameTable(frame())
made = trainer(Path({str(place)!r}), table, {recipe!r}, **{params!r})
print(train(made, job(recipe={recipe!r}), table.rows()).model_digest)
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_a_job_is_trained_in_another_process_and_known_when_it_is_asked_for_again(tmp_path: Path) -> None:
    table = FrameTable(frame())
    made = trainer(tmp_path, table)
    trained = train(made, job(), table.rows())
    assert verify(tmp_path / "models" / trained.model_digest, trained.model_digest).recipe == "lightgbm"
    assert trained.cpu_s > 0
    expected = {"job_intended": 1, "job_submitted": 1, "job_finished": 1}
    assert events(tmp_path) == expected
    assert list((tmp_path / "spool" / "snapshots").iterdir()) == []
    assert train(trainer(tmp_path, table), job(), table.rows()) == trained
    assert events(tmp_path) == expected
    finished = FileLedger(tmp_path / "ledger.jsonl").notes("job_finished")[0]
    assert (finished["serves"], finished["cpu_s"], finished["attempt"]) == (job().id, trained.cpu_s, 1)


def test_the_unit_of_cost_is_the_recipes(tmp_path: Path) -> None:
    table = FrameTable(frame())
    assert trainer(tmp_path, table).passes() == 100
    assert trainer(home(tmp_path), table, RECIPE, segments=7).passes() == 7


def test_the_same_job_makes_the_same_model_and_another_seed_another(tmp_path: Path) -> None:
    table = FrameTable(frame())
    digests = [
        train(trainer(home(tmp_path / name), table), job(seed=seed), table.rows()).model_digest
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_job_that_outlived_its_controller_is_adopted(tmp_path: Path) -> None:
    place = home(tmp_path)
    first = controller(place, RECIPE, sleep_s=0.4)
    wait_for(lambda: submitted(place) and at_work(slow_job(place)))
    first.kill()
    first.wait()
    table = FrameTable(frame())
    trained = train(trainer(place, table, RECIPE, sleep_s=0.4), job(recipe=RECIPE), table.rows())
    assert events(place) == {"job_intended": 1, "job_submitted": 1, "job_adopted": 1, "job_finished": 1}
    calm = home(tmp_path / "calm")
    # The parameters are part of the model's folder, so they must be the same.
    assert (
        train(trainer(calm, table, RECIPE, sleep_s=0.4), job(recipe=RECIPE), table.rows()).model_digest
        == trained.model_digest
    )


def test_a_job_that_was_submitted_and_has_not_begun_is_fenced_off(tmp_path: Path) -> None:
    table = FrameTable(frame())
    first = controller(tmp_path)
    wait_for(lambda: submitted(tmp_path))
    first.kill()
    first.wait()
    trained = train(trainer(tmp_path, table), job(), table.rows())
    time.sleep(1.0)
    result = JobFolder(tmp_path / "spool" / "jobs" / job().id).result()
    assert result is not None
    assert (result["attempt"], result["model_digest"]) == (2, trained.model_digest)
    assert events(tmp_path) == {"job_intended": 2, "job_submitted": 2, "job_finished": 1}


def test_a_controller_killed_at_any_moment_and_begun_again_has_one_result(tmp_path: Path) -> None:
    moments = random.Random(1)
    for _ in range(3):
        process = controller(tmp_path, rounds=200)
        time.sleep(moments.uniform(0.6, 2.2))
        process.kill()
        process.wait()
    digest, _ = controller(tmp_path, rounds=200).communicate(timeout=60)
    result = JobFolder(tmp_path / "spool" / "jobs" / job().id).result()
    assert result is not None
    assert result["model_digest"] == digest.strip()
    assert events(tmp_path)["job_finished"] == 1
    assert [path.name for path in (tmp_path / "models").iterdir()] == [digest.strip()]
    table = FrameTable(frame())
    calm = tmp_path / "calm"
    calm.mkdir()
    assert train(trainer(calm, table, rounds=200), job(), table.rows()).model_digest == digest.strip()


def test_a_process_that_dies_in_silence_is_tried_again_from_its_checkpoint(tmp_path: Path) -> None:
    table = FrameTable(frame())
    made = trainer(home(tmp_path), table, RECIPE, fail="die once")
    train(made, job(recipe=RECIPE), table.rows())
    assert events(tmp_path) == {"job_intended": 2, "job_submitted": 2, "job_finished": 1}
    result = JobFolder(tmp_path / "spool" / "jobs" / job(recipe=RECIPE).id).result()
    assert result is not None
    assert (result["attempt"], result["segments"]) == (2, 4)


def test_three_processes_that_die_in_silence_end_the_run_but_not_the_job(tmp_path: Path) -> None:
    table = FrameTable(frame())
    made = trainer(home(tmp_path), table, RECIPE, every_s=60.0, fail="die")
    with pytest.raises(HpcretrainError, match="without a result 3 times") as caught:
        train(made, job(recipe=RECIPE), table.rows())
    assert not isinstance(caught.value, TrainingError)
    assert events(tmp_path) == {"job_intended": 4, "job_submitted": 3}
    train(trainer(tmp_path, table, RECIPE), job(recipe=RECIPE), table.rows())
    assert events(tmp_path)["job_finished"] == 1


def test_a_recipe_that_raises_is_not_tried_again_and_the_reason_is_remembered(tmp_path: Path) -> None:
    table = FrameTable(frame())
    reasons = []
    for _ in range(2):
        with pytest.raises(TrainingError) as caught:
            train(trainer(home(tmp_path), table, RECIPE, fail="train"), job(recipe=RECIPE), table.rows())
        reasons.append(caught.value.reason)
        assert "in train" in str(caught.value)
    assert reasons == ["ZeroDivisionError: the recipe divided by zero"] * 2
    assert events(tmp_path) == {"job_intended": 1, "job_submitted": 1, "job_finished": 1}


def test_an_interrupted_controller_takes_its_job_with_it_and_the_next_goes_on_from_the_checkpoint(
    tmp_path: Path,
) -> None:
    place = home(tmp_path)
    folder = slow_job(place)
    first = controller(place, RECIPE, sleep_s=1.0)
    wait_for(lambda: saved(folder))
    first.send_signal(signal.SIGINT)
    first.wait(20)
    wait_for(lambda: not at_work(slow_job(place)))
    assert folder.result() is None
    assert saved(folder)
    table = FrameTable(frame())
    train(trainer(place, table, RECIPE, sleep_s=0.5), job(recipe=RECIPE), table.rows())
    assert events(place) == {"job_intended": 2, "job_submitted": 2, "job_finished": 1}


def test_a_controller_that_dies_between_the_result_and_the_models_folder_loses_nothing(tmp_path: Path) -> None:
    table = FrameTable(frame())
    trained = train(trainer(tmp_path, table), job(), table.rows())
    folder = tmp_path / "spool" / "jobs" / job().id
    (tmp_path / "models" / trained.model_digest).rename(folder / "lives" / "1.0" / "model")
    (tmp_path / "models" / f".{trained.model_digest}.part").mkdir()
    assert train(trainer(tmp_path, table), job(), table.rows()) == trained
    verify(tmp_path / "models" / trained.model_digest, trained.model_digest)


def test_a_finished_job_whose_model_was_altered_is_an_error(tmp_path: Path) -> None:
    table = FrameTable(frame())
    trained = train(trainer(tmp_path, table), job(), table.rows())
    with (tmp_path / "models" / trained.model_digest / "model.txt").open("a") as file:
        file.write(" ")
    with pytest.raises(ModelFileError, match="altered"):
        train(trainer(tmp_path, table), job(), table.rows())


def test_several_orders_are_answered_in_their_order_and_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    table = FrameTable(frame())
    made = trainer(home(tmp_path), table, RECIPE, fail="seed 2")
    counts: list[int] = []
    # The first and the last read the same rows.
    jobs = [job(seed=1, recipe=RECIPE), job(seed=2, rows=1000, recipe=RECIPE), job(seed=3, recipe=RECIPE)]
    rows = [table.rows(), table.rows(last=1000), table.rows()]
    first, second, third = made.train(list(zip(jobs, rows, strict=True)), counts.append)
    assert counts == [1, 2, 3]
    assert isinstance(second, TrainingError)
    assert second.reason == "ValueError: seed 2 is refused"
    assert isinstance(first, Trained)
    assert isinstance(third, Trained)
    assert list((tmp_path / "spool" / "snapshots").iterdir()) == []


def test_a_finished_jobs_folder_keeps_what_its_lives_told_and_nothing_heavy(tmp_path: Path) -> None:
    table = FrameTable(frame())
    train(trainer(tmp_path, table), job(), table.rows())
    [life] = JobFolder(tmp_path / "spool" / "jobs" / job().id).lives()
    wait_for(lambda: life.told("ended"))
    assert {path.name for path in life.path.iterdir()} == {"begun.json", "model.json", "result.json", "ended.json"}
    assert {path.name for path in (tmp_path / "spool").iterdir()} == {"jobs", "snapshots"}


def test_memory_that_is_refused_is_tried_again_and_the_last_reason_is_told(tmp_path: Path) -> None:
    table = FrameTable(frame())
    made = trainer(home(tmp_path), table, RECIPE, fail="memory")
    with pytest.raises(HpcretrainError, match=r"3 times.*the last one said: MemoryError"):
        train(made, job(recipe=RECIPE), table.rows())
    assert events(tmp_path)["job_finished"] == 0


def three(place: Path, recipe: str = RECIPE, **params: object) -> tuple[LocalTrainer, list[tuple[Job, Rows]]]:
    table = FrameTable(frame())
    jobs = [job(seed=seed, recipe=recipe) for seed in (1, 2, 3)]
    return trainer(place, table, recipe, **params), [(each, table.rows()) for each in jobs]


def pids(place: Path) -> list[int]:
    return [note["pid"] for note in FileLedger(place / "ledger.jsonl", read_only=True).notes("job_submitted")]


def test_what_is_ordered_together_is_submitted_once_and_comes_out_as_if_alone(tmp_path: Path) -> None:
    made, orders = three(home(tmp_path / "together"), "lightgbm")
    together = made.train(orders)
    alone = []
    for number, order in enumerate(orders):
        made, _ = three(home(tmp_path / str(number)), "lightgbm")
        alone += made.train([order])
    assert [each.model_digest for each in together] == [each.model_digest for each in alone]  # type: ignore[union-attr]
    assert len(set(pids(tmp_path / "together"))) == 1
    assert events(tmp_path / "together") == {"job_intended": 3, "job_submitted": 3, "job_finished": 3}
    spool = tmp_path / "together" / "spool"
    begun = [JobFolder(spool / "jobs" / each.id).lives()[0].told("begun") for each, _ in orders]
    assert len({each["pid"] for each in begun if each}) == 3, "each has a process of its own"


def test_a_job_that_dies_takes_none_of_the_others_with_it(tmp_path: Path) -> None:
    made, orders = three(home(tmp_path), fail="die once")
    assert all(isinstance(each, Trained) for each in made.train(orders))
    # The first submission ends with the first job's death, the second with that of the second job, and so on.
    assert len(set(pids(tmp_path))) == 4
    assert events(tmp_path)["job_finished"] == 3
    for each, _ in orders:
        result = JobFolder(tmp_path / "spool" / "jobs" / each.id).result()
        assert result is not None
        assert result["segments"] == 4


def test_what_each_job_prints_is_told_with_its_error(tmp_path: Path) -> None:
    made, orders = three(home(tmp_path), fail="seed 2")
    first, second, third = made.train(orders)
    assert isinstance(first, Trained)
    assert isinstance(third, Trained)
    assert isinstance(second, TrainingError)
    assert "in train" in str(second)
    assert second.reason == "ValueError: seed 2 is refused"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_job_at_work_and_no_other_is_begun(tmp_path: Path, number: int) -> None:
    place = home(tmp_path)
    made, orders = three(place, sleep_s=0.5)
    folders = [made._spool.prepare(each, rows) for each, rows in orders]
    tasks = [(str(each.path), 1) for each in folders]
    code = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from hpcretrain.node.local import run_each
run_each({tasks!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: saved(folders[0]))
    process.send_signal(number)
    assert process.wait(20) == 0
    assert [len(each.lives()) for each in folders] == [1, 0, 0]
    assert folders[0].result() is None
    told = folders[0].lives()[0].told("ended")
    assert told is not None
    assert told["kind"] == "interrupted"


def test_a_jobs_own_parameters_reach_the_node(tmp_path: Path) -> None:
    made = trainer(home(tmp_path), FrameTable(frame()), RECIPE, segments=3, sleep_s=0.5)
    order = replace(job(recipe=RECIPE), params={"sleep_s": "0.0", "segments": "3", "fail": '""'})
    folder = made._spool.prepare(order, FrameTable(frame()).rows())
    assert folder.spec().params == {"sleep_s": 0.0, "segments": 3, "fail": ""}


def test_whoever_comes_after_a_controller_that_was_killed_waits_for_all_that_it_submitted(tmp_path: Path) -> None:
    place = home(tmp_path)
    code = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parent)!r}]
from test_submitit import three
made, orders = three(Path({str(place)!r}), sleep_s=0.4)
made.train(orders)
"""
    first = subprocess.Popen([sys.executable, "-c", code])
    _, orders = three(place)
    folders = [JobFolder(place / "spool" / "jobs" / each.id) for each, _ in orders]
    wait_for(lambda: saved(folders[1]), 60)
    first.kill()
    first.wait()
    made, orders = three(place, sleep_s=0.4)
    assert all(isinstance(each, Trained) for each in made.train(orders))
    assert events(place) == {"job_intended": 3, "job_submitted": 3, "job_adopted": 2, "job_finished": 3}
