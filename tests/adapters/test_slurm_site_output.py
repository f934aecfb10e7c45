from __future__ import annotations

from pathlib import Path

import pytest

from hpcretrain.adapters.slurm_output import read_records
from hpcretrain.adapters.slurm_site_output import (
    minutes,
    preempted_by_trial,
    read_associations,
    read_config,
    read_memory,
    read_partition,
    read_qos,
    read_reservation,
)

RECORDED = Path(__file__).parent / "slurm_recorded"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def test_parameters_keep_their_values_and_those_that_are_not_set_are_empty() -> None:
    config = read_config(recorded("config-22.05.8.txt"))
    assert config["SLURM_VERSION"] == "22.05.8"
    assert config["MaxArraySize"] == "5001"
    assert config["MinJobAge"] == "300 sec"
    assert config["SlurmctldParameters"] == "preempt_send_user_signal"
    assert config["PowerPlugin"] == ""
    assert config["AuthInfo"].endswith("cred_expire=5")
    assert config["SlurmctldHost[0]"].endswith("(127.0.0.1)")
    assert not any("Slurmctld(primary)" in name or "Configuration" in name for name in config)
    # As 23.02 and later show it.
    assert read_config("PreemptParameters       = (null)\n") == {"PreemptParameters": ""}


def test_partitions_of_several_versions_are_understood() -> None:
    inference, train, urgent = map(read_partition, read_records(recorded("partition-22.05.8.txt")))
    assert (train.allow_qos, train.max_time_min, train.default) == ({"urgent", "standard", "background"}, 1440, True)
    assert (urgent.priority_tier, urgent.state) == (10, "UP")
    assert inference.max_time_min is None
    assert inference.nodes == {"infer1", "infer2"}

    denied, allowed = map(read_partition, read_records(recorded("partition-ood.txt")))
    assert len(denied.nodes) == 16
    assert "o0809" in denied.nodes
    assert "pcon0003" in denied.deny_accounts
    assert denied.max_time_min == 7 * 1440
    for account, takes in (("pcon0003", (False, False)), ("pzs0708", (True, True)), ("other", (True, False))):
        admitted = [each.admits(qos="any", account=account, groups=frozenset()) for each in (denied, allowed)]
        assert tuple(admitted) == takes

    (dynamic,) = map(read_partition, read_records(recorded("partition-ood-dynamic.txt")))
    assert dynamic.nodes == frozenset()
    assert dynamic.max_memory_mb is None
    dev, cpu = map(read_partition, read_records(recorded("partition-skypilot.txt")))
    assert (dev.default, cpu.default, cpu.name) == (True, False, "CPU nodes (amd)")


def test_qos_of_two_versions_with_other_columns_are_understood() -> None:
    ours = read_qos(recorded("qos-22.05.8.txt"))
    assert ours["urgent"].preempts == {"standard", "background"}
    assert (ours["standard"].grace_s, ours["standard"].max_wall_min) == (10, 720)
    assert ours["standard"].submit_limits == {"MaxSubmitJobsPerUser": 2000}
    assert ours["background"].preempt_mode == "cluster"
    theirs = read_qos(recorded("qos-perlmutter.txt"))
    assert theirs["gpu_preempt"].preempts == {"debug_preempt", "overrun", "sparewarmer"}
    assert (theirs["gpu_preempt"].exempt_min, theirs["gpu_debug"].exempt_min) == (120, None)
    assert theirs["gpu_preempt"].submit_limits == {"MaxSubmitJobsPerUser": 5000}
    assert (theirs["gpu_debug"].grace_s, theirs["gpu_debug"].max_wall_min) == (60, 30)
    assert theirs["gpu_debug"].flags == {"DenyOnLimit"}
    assert theirs["normal"].submit_limits == {}


def test_associations_are_understood() -> None:
    (ours,) = read_associations(recorded("associations-22.05.8.txt"))
    assert (ours.account, ours.partition, ours.default_qos) == ("retrain", None, "standard")
    assert ours.qos == {"urgent", "standard", "background"}
    assert read_associations("") == ()


def test_a_reservation_is_understood() -> None:
    line = "ReservationName=maint StartTime=2026-03-28T16:05:00 Nodes=n[1-2] Flags=MAINT Users=(null) Accounts=a,b"
    (shown,) = read_records(line)
    found = read_reservation(shown)
    assert (found.nodes, found.users, found.accounts) == ({"n1", "n2"}, frozenset(), {"a", "b"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1-00:00:00", 1440),
        ("2-12", 3600),
        ("04:00:00", 240),
        ("00:00:30", 0.5),
        ("30:00", 30),
        ("90", 90),
        ("UNLIMITED", None),
        ("", None),
    ],
)
def test_spans_of_time_are_read_in_every_way_that_slurm_writes_them(text: str, expected: float | None) -> None:
    assert minutes(text) == expected


def test_what_is_no_span_of_time_is_refused() -> None:
    with pytest.raises(ValueError, match="no span of time"):
        minutes("tomorrow")


def test_the_largest_node_of_a_partition_counts() -> None:
    assert read_memory("train|4000\ntrain|8000+\nbig one|16000\n\n") == {"train": 8000, "big one": 16000}


def test_who_would_have_to_make_room_is_read_from_a_trial() -> None:
    told = "sbatch: Job 11 to start at 2026-11-21T14:09:32 using 1 processors on nodes train1 in partition urgent\n"
    assert preempted_by_trial(told) == ""
    assert preempted_by_trial(f"{told}sbatch:   Preempts: 8,9\n") == "8,9"
