from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpcretrain.config.cluster import load_cluster
from hpcretrain.errors import InputError
from hpcretrain.site.draft import Around, draft
from hpcretrain.site.facts import Association, Partition, Qos, Site

AROUND = Around("/opt/python", None, [(Path("/scratch/ada"), "lustre"), (Path("/users/ada"), "ext4")])
NODES = frozenset({"n1", "n2"})
SITE = Site(
    user="ada",
    config={"ClusterName": "there", "PreemptType": "preempt/qos", "PreemptMode": "CANCEL", "JobRequeue": "0"},
    partitions={
        "gpu-serving": Partition("gpu-serving", "UP", frozenset({"s1"}), allow_qos=frozenset({"online"})),
        "old": Partition("old", "DOWN", NODES, default=True),
        "batch": Partition("batch", "UP", NODES, max_time_min=120.0),
        "mixed": Partition("mixed", "UP", NODES | {"s1"}),
    },
    node_memory_mb={"batch": 2000},
    qos={
        name: Qos(name, priority=priority, grace_s=grace, preempts=preempts)
        for name, priority, grace, preempts in (
            ("premium", 900, 0.0, frozenset({"normal", "scavenger"})),
            ("normal", 100, 60.0, frozenset({"scavenger"})),
            ("scavenger", 1, 30.0, frozenset[str]()),
            ("online", 999, 0.0, frozenset[str]()),
        )
    },
    associations=(Association("ml", qos=frozenset({"premium", "normal", "scavenger", "online"})),),
)


def test_classes_are_guessed_from_who_preempts_whom_and_from_priority(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    path.write_text(draft(SITE, AROUND).text)
    found = load_cluster(path)
    classes = found.classes
    assert [each.qos for each in (classes.urgent, classes.standard, classes.background)] == [
        "premium",
        "normal",
        "scavenger",
    ]
    assert {each.partition for each in (classes.urgent, classes.standard, classes.background)} == {"batch"}
    assert (classes.urgent.account, classes.urgent.memory_mb, classes.background.time_limit_min) == ("ml", 1000, 120)
    assert found.inference.partitions == ("gpu-serving",)
    assert (found.preemption.grace_s, found.preemption.requeue) == (30, False)
    assert found.spool.path == Path("/scratch/ada/hpcretrain-spool")
    assert found.environment.python == "/opt/python"


def test_where_nothing_says_what_serves_the_draft_is_refused_until_it_is_filled_in(tmp_path: Path) -> None:
    partitions = {name: each for name, each in (SITE.partitions or {}).items() if name != "gpu-serving"}
    found = draft(replace(SITE, partitions=partitions), AROUND)
    assert any(line.startswith("inference.partitions") for line in found.open)
    path = tmp_path / "new.toml"
    path.write_text(found.text)
    with pytest.raises(InputError, match="name the nodes or the partitions that serve"):
        load_cluster(path)
    path.write_text(found.text.replace('# nodes = "NAME[1-4]"', 'nodes = "s1"'))
    assert load_cluster(path).inference.nodes == "s1"


def test_where_no_partition_is_open_the_class_is_left_open(tmp_path: Path) -> None:
    found = draft(replace(SITE, partitions={}), AROUND)
    path = tmp_path / "new.toml"
    path.write_text(found.text)
    with pytest.raises(InputError, match=r"classes\.urgent\.partition: is missing"):
        load_cluster(path)
    assert sum("partition: name one" in line for line in found.open) == 3


def test_a_site_without_qos_gets_none(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    bare = replace(SITE, qos=None, associations=None, accounting_trouble="no slurmdbd\nat all")
    path.write_text(draft(bare, AROUND).text)
    found = load_cluster(path)
    assert found.classes.urgent.qos is None
    assert found.status.accounting is False
