from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcretrain.adapters.slurm_output import (
    SACCT_FIELDS,
    SQUEUE_FIELDS,
    Key,
    expand,
    megabytes,
    read_accounting,
    read_queue,
    read_records,
)
from hpcretrain.policy.fate import state_of
from hpcretrain.site.hosts import fold
from hpcretrain.witnesses import Fate

RECORDED = Path(__file__).parent / "slurm_recorded"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def test_a_recorded_queue_is_read_whole() -> None:
    lines = {line.key: line for line in read_queue(recorded("squeue-22.05.8.txt"))}
    assert len(lines) == 12
    assert lines[Key(1, 1)].seen.state == "FAILED"
    assert lines[Key(1, 1)].seen.nodes == "train1"
    assert lines[Key(2, 4)].seen.state == "RUNNING"
    assert lines[Key(10)].name == "hpcretrain.h1.cc"
    assert lines[Key(10)].seen.state == "CANCELLED"


def test_a_recorded_accounting_is_read_whole() -> None:
    jobs = {job.key: job for job in read_accounting(recorded("sacct-22.05.8.txt"))}
    # The job that is called "a|b" has a field too many, and is nobody's of ours.
    assert len(jobs) == 11
    assert Key(9) not in jobs
    (canceled,) = jobs[Key(10)].lives
    assert (canceled.state, canceled.steps) == ("CANCELLED by 994", ("FAILED",))
    (memory,) = jobs[Key(12)].lives
    assert memory.over_memory
    assert memory.exit_code == "9:0"
    assert memory.steps == ("FAILED", "CANCELLED by 0")
    assert not jobs[Key(1, 0)].lives[0].over_memory
    assert jobs[Key(2, 3)].lives[0].cpu_s == 8


def widened(line: str) -> str:
    """What sacct would have printed for our fields, of which a line has three."""
    raw, state, code = line.split("|")
    known = {"JobIDRaw": raw, "JobID": raw, "JobName": "hpcretrain.x", "State": state, "ExitCode": code}
    return "|".join(known.get(name, "") for name in SACCT_FIELDS)


def test_states_and_steps_of_another_site_are_understood() -> None:
    text = "\n".join(map(widened, recorded("sacct-toil.txt").splitlines()))
    jobs = {job.key.submission: job.lives[-1] for job in read_accounting(text)}
    assert {number: state_of(life.state) for number, life in jobs.items()} == {
        754725: Fate.TIMED_OUT,
        765096: Fate.FAILED,
        785023: Fate.FAILED,
        789868: Fate.WAITING,
    }
    assert jobs[765096].steps == ("COMPLETED", "CANCELLED by 54386")
    assert [state_of(step) for step in jobs[765096].steps] == [Fate.FINISHED, Fate.CANCELLED]


def test_lives_of_a_requeued_job_stay_in_order() -> None:
    one = "7|7|hpcretrain.h.x|PREEMPTED|0:15|n1||100M|5\n7.0|7.0|step|CANCELLED|0:15|n1|10K||5\n"
    two = "7|7|hpcretrain.h.x|COMPLETED|0:0|n2||100M|9\n7.0|7.0|step|COMPLETED|0:0|n2|10K||9\n"
    (job,) = read_accounting(one + two)
    assert [(life.state, life.nodes, life.cpu_s) for life in job.lives] == [
        ("PREEMPTED", "n1", 5),
        ("COMPLETED", "n2", 9),
    ]


@pytest.mark.parametrize("reader", [read_queue, read_accounting])
def test_a_line_of_ours_that_is_not_understood_is_refused(reader: object) -> None:
    assert reader("something|else\n") == []  # type: ignore[operator]
    with pytest.raises(ValueError, match="is not understood"):
        reader("hpcretrain.h1.aa|RUNNING\n")  # type: ignore[operator]


reasons = st.text(st.characters(exclude_categories=("C", "Z")), max_size=20)


@given(reason=reasons, place=st.none() | st.integers(0, 9999), restarts=st.integers(0, 99))
@settings(deadline=None)
def test_a_line_of_the_queue_survives_any_reason(reason: str, place: int | None, restarts: int) -> None:
    fields = ["5", "3", "N/A" if place is None else str(place), "hpcretrain.h.x", "PENDING", str(restarts), "", reason]
    (line,) = read_queue("".join(f"{field}|" for field in fields))
    assert len(fields) == len(SQUEUE_FIELDS)
    assert (line.key, line.seen.restarts, line.seen.nodes) == (Key(3, place), restarts, "")
    assert line.seen.reason == reason.rstrip("|").strip()


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("608K", 608 / 1024),
        ("1.50G", 1536),
        ("2T", 2097152),
        ("100M", 100),
        ("4000Mn", 4000),
        ("500Mc", None),
        ("", None),
    ],
)
def test_memory_is_read_in_every_way_that_slurm_writes_it(text: str, amount: float | None) -> None:
    assert megabytes(text) == amount


def test_records_keep_values_with_blanks_and_drop_what_is_not_set() -> None:
    dev, cpu = read_records(recorded("partition-skypilot.txt"))
    assert cpu["PartitionName"] == "CPU nodes (amd)"
    assert cpu["Nodes"] == "ip-10-3-0-193,ip-10-3-215-227"
    assert len(expand(dev["Nodes"])) == 6
    (dynamic,) = read_records(recorded("partition-ood-dynamic.txt"))
    assert dynamic["Nodes"] == ""


stems = st.from_regex(r"[a-z][a-z-]{0,5}", fullmatch=True)
numbers = st.integers(0, 120).map(str) | st.integers(0, 120).map(lambda number: f"{number:03d}")
spans = st.tuples(st.integers(0, 30), st.integers(0, 12), st.sampled_from([1, 2, 3])).map(
    lambda given: f"{given[0]:0{given[2]}d}-{given[0] + given[1]:0{given[2]}d}"
)
brackets = st.lists(numbers | spans, min_size=1, max_size=3).map(lambda parts: f"[{','.join(parts)}]")
# Slurm knows no name that goes on with letters alone after a bracket.
tails = st.just("") | st.tuples(stems, brackets).map("".join)
hosts = st.tuples(stems, st.just("") | numbers | brackets, tails)
lists = st.lists(hosts.map("".join), min_size=1, max_size=3).map(",".join)


@pytest.fixture(scope="module")
def scontrol(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if shutil.which("scontrol") is None:
        pytest.skip("there is no scontrol here")
    conf = tmp_path_factory.mktemp("slurm") / "slurm.conf"
    conf.write_text("ClusterName=x\nSlurmctldHost=localhost\n")
    return ["env", f"SLURM_CONF={conf}", "scontrol", "show"]


@given(hosts=lists)
@settings(deadline=None, max_examples=150)
def test_host_lists_expand_as_scontrol_expands_them(hosts: str, scontrol: list[str]) -> None:
    told = subprocess.run([*scontrol, "hostnames", hosts], capture_output=True, text=True, check=True)
    assert expand(hosts) == told.stdout.split()


names = st.sets(st.tuples(stems, numbers | st.just("")).map("".join), min_size=1, max_size=12)


@given(names=names)
@settings(deadline=None)
def test_folded_names_expand_to_themselves(names: set[str]) -> None:
    assert sorted(expand(fold(names))) == sorted(names)


def test_names_are_folded_as_people_write_them() -> None:
    assert fold(["n1", "n2", "n3", "n5", "gpu7", "login"]) == "gpu7,login,n[1-3,5]"
    assert fold(["o0809", "o0810", "o0811"]) == "o[0809-0811]"


@pytest.mark.parametrize("hosts", ["n[1-", "n]1[", "n[a]", "n[3-1]", "a,,b", ""])
def test_what_is_no_host_list_is_refused(hosts: str) -> None:
    with pytest.raises(ValueError, match="no list of nodes"):
        expand(hosts)
