"""What tests on a cluster cannot bring about: other versions, other sites, nodes that are broken in rare ways."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from hpcretrain.adapters.slurm_output import expand
from hpcretrain.config.checked import parse
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.priority import BUILT_IN, PriorityClass
from hpcretrain.records import Outcome
from hpcretrain.site.check import check
from hpcretrain.site.facts import Association, Folder, Partition, Probe, Qos, Reservation, Site, Trial
from hpcretrain.site.item import Item

PROFILE = """
name = "there"
spool = {path = "/shared/spool"}
inference = {partitions = ["serve"]}
environment = {python = "/opt/python"}
preemption = {grace_s = 10, signal = "USR2"}
[classes]
urgent = {partition = "fast", qos = "high", account = "ml", memory_mb = 500, time_limit_min = 30}
standard = {partition = "train", qos = "mid", account = "ml", time_limit_min = 60}
background = {partition = "train", qos = "low", account = "ml", time_limit_min = 60}
"""
TRAIN, SERVE = frozenset({"t1", "t2", "t3"}), frozenset({"s1", "s2"})
SEEN: dict[str, Any] = {
    "at": 0.0,
    "host": "t1",
    "node": "t1",
    "python": "3.12.1",
    "executable": "/opt/python",
    "versions": {"hpcretrain": "1", "lightgbm": "4"},
    "errors": {},
    "scontrol": "",
}
PROBE = Probe(ran=True, nodes=frozenset({"t1"}), exit_code=0, seen=SEEN, requeue=True)
CONFIG = {
    "SLURM_VERSION": "24.05.4",
    "AccountingStorageType": "accounting_storage/slurmdbd",
    "PreemptType": "preempt/qos",
    "PreemptMode": "REQUEUE",
    "PreemptParameters": "send_user_signal",
    "PreemptExemptTime": "00:00:00",
    "SlurmctldParameters": "",
    "JobRequeue": "1",
    "MaxArraySize": "1001",
    "MaxJobCount": "10000",
    "MinJobAge": "300 sec",
    "EnforcePartLimits": "ALL",
    "AuthInfo": "",
}


def qos(name: str, *preempts: str, **more: Any) -> Qos:
    return replace(Qos(name, grace_s=10, preempts=frozenset(preempts), flags=frozenset({"DenyOnLimit"})), **more)


SITE = Site(
    user="ada",
    groups=frozenset({"ml"}),
    version="24.05.4",
    config=CONFIG,
    partitions={
        "serve": Partition("serve", "UP", SERVE, allow_qos=frozenset({"serving"})),
        "fast": Partition("fast", "UP", TRAIN, priority_tier=10),
        "train": Partition("train", "UP", TRAIN, default=True),
    },
    reservations={},
    node_memory_mb={"fast": 4000, "train": 4000},
    qos={each.name: each for each in (qos("high", "mid", "low"), qos("mid", "low"), qos("low"), qos("serving"))},
    associations=(Association("ml", qos=frozenset({"high", "mid", "low"}), default_qos="mid"),),
    folder=Folder(True, 0o700, True),
    trials={each: Trial(True, "Job 1 to start") for each in BUILT_IN},
    probes=dict.fromkeys(BUILT_IN, PROBE),
    here={"hpcretrain": "1", "lightgbm": "4"},
)


def profile(**changes: Any) -> ClusterProfile:
    content = tomllib.loads(PROFILE)
    for table, keys in changes.items():
        content.setdefault(table, {}).update(keys)
    return parse(ClusterProfile, content, "profile")


def items(site: Site = SITE, terms: ClusterProfile | None = None) -> dict[str, Item]:
    """What is not fine, by check."""
    found = check(terms or profile(), site, expand)
    assert len(found) > 40 or site.config is None
    return {item.finding.check: item for item in found if item.finding.outcome is not Outcome.PASS}


def only(found: dict[str, Item], outcome: Outcome = Outcome.FAIL) -> Item:
    (item,) = found.values()
    assert item.finding.outcome is outcome, found
    return item


def with_config(**changes: str) -> Site:
    return replace(SITE, config={**CONFIG, **changes})


def with_partition(name: str, **changes: Any) -> Site:
    partitions = dict(SITE.partitions or {})
    partitions[name] = replace(partitions.get(name, Partition(name, "UP", frozenset())), **changes)
    return replace(SITE, partitions=partitions)


def with_probe(**changes: Any) -> Site:
    return replace(SITE, probes={**SITE.probes, PriorityClass.URGENT: replace(PROBE, **changes)})


def test_a_site_that_is_as_it_should_be_is_fine() -> None:
    assert items() == {}


def test_a_further_class_is_looked_at_as_the_three_are() -> None:
    night = PriorityClass("nightly")
    given = {"below": "standard", "partition": "train", "qos": "night", "account": "ml", "time_limit_min": 60}
    terms = profile(classes={"nightly": given})
    rights = Association("ml", qos=frozenset({"high", "mid", "night", "low"}), default_qos="mid")
    quality = {each.name: each for each in (qos("high", "mid", "night", "low"), qos("mid", "night", "low"))}
    quality |= {each.name: each for each in (qos("night", "low"), qos("low"), qos("serving"))}
    site = replace(
        SITE,
        qos=quality,
        associations=(rights,),
        trials={**SITE.trials, night: Trial(True, "Job 1 to start")},
        probes={**SITE.probes, night: PROBE},
    )
    assert items(site, terms) == {}
    quality["mid"] = qos("mid", "low")
    found = only(items(replace(site, qos=quality), terms))
    assert found.finding.check == "preemption.order.standard>nightly"
    assert found.mends[0].line == "sacctmgr -i modify qos mid set Preempt+=night"
    quality["mid"] = qos("mid", "night", "low")
    quality["night"] = qos("night", "low", grace_s=1)
    assert only(items(replace(site, qos=quality), terms)).finding.check == "preemption.grace.nightly"
    assert "node.nightly" in " ".join(items(replace(site, qos=quality, probes=SITE.probes), terms))


def test_the_user_signal_is_named_as_each_version_has_it() -> None:
    newer = only(items(with_config(PreemptParameters="youngest_first")))
    assert newer.mends[0].line == "PreemptParameters=youngest_first,send_user_signal"
    config = {name: value for name, value in CONFIG.items() if name != "PreemptParameters"}
    older = only(items(replace(SITE, config={**config, "SlurmctldParameters": "enable_configless"})))
    assert older.mends[0].line == "SlurmctldParameters=enable_configless,preempt_send_user_signal"
    assert items(replace(SITE, config={**config, "SlurmctldParameters": "preempt_send_user_signal"})) == {}


def test_a_newer_slurm_that_leaves_out_what_does_not_preempt_says_so() -> None:
    item = only(items(with_config(PreemptType="", PreemptMode="OFF")))
    assert item.finding.check == "preemption.type"
    assert "not set" in item.finding.reason


@pytest.mark.parametrize(
    ("changes", "name", "line"),
    [
        ({"exit_code": 81, "seen": None}, "node.urgent.spool", 'path = "/SHARED/FOLDER"'),
        ({"exit_code": 82, "seen": None}, "node.urgent.spool", 'path = "/SHARED/FOLDER"'),
        ({"exit_code": 0, "seen": None}, "node.urgent.spool", 'path = "/SHARED/FOLDER"'),
        ({"own": False}, "node.urgent.spool", 'path = "/SHARED/FOLDER"'),
        ({"exit_code": 127, "seen": None, "output": "not found"}, "node.urgent.environment", None),
        ({"seen": {**SEEN, "errors": {"lightgbm": "OSError: libgomp"}}}, "node.urgent.environment", None),
        ({"seen": {**SEEN, "versions": {"hpcretrain": "0"}}}, "node.urgent.environment", None),
        ({"seen": {**SEEN, "scontrol": "there is no scontrol"}}, "node.urgent.scontrol", "requeue_on_node = false"),
        ({"requeue": False}, "node.urgent.requeue", "requeue = false"),
    ],
)  # fmt: skip
def test_what_a_node_sees_wrongly_is_told_with_its_mend(changes: dict[str, Any], name: str, line: str | None) -> None:
    item = only(items(with_probe(**changes)))
    assert item.finding.check == name
    assert item.mends
    assert line is None or line in [mend.line for mend in item.mends]


def test_other_packages_and_another_clock_work_but_could_be_better() -> None:
    seen = {**SEEN, "versions": {"hpcretrain": "1", "lightgbm": "3"}}
    assert only(items(with_probe(seen=seen)), Outcome.WAIT).finding.check == "node.urgent.packages"
    item = only(items(with_probe(behind_s=-90.0)), Outcome.WAIT)
    assert "90 s ahead" in item.finding.reason


def test_what_was_not_sent_is_unseen_and_says_why() -> None:
    item = only(items(with_probe(ran=False, why="it did not start")), Outcome.INSUFFICIENT)
    assert (item.finding.reason, bool(item.who)) == ("it did not start", True)


def test_a_profile_that_leaves_requeueing_to_the_controller_needs_no_scontrol_and_may_be_canceled() -> None:
    terms = profile(preemption={"requeue": False})
    seen = {**SEEN, "scontrol": "there is no scontrol"}
    site = replace(with_config(PreemptMode="CANCEL"), probes={each: replace(PROBE, seen=seen) for each in BUILT_IN})
    assert only(items(site, terms), Outcome.WAIT).finding.check == "preemption.requeue"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"allow_qos": frozenset({"mid", "low"})}, "scontrol update PartitionName=fast AllowQos=high,low,mid"),
        ({"deny_qos": frozenset({"high", "x"})}, "scontrol update PartitionName=fast DenyQos=x"),
        ({"deny_accounts": frozenset({"ml", "x"})}, "scontrol update PartitionName=fast DenyAccounts=x"),
        ({"allow_accounts": frozenset({"bio"})}, "scontrol update PartitionName=fast AllowAccounts=bio,ml"),
        ({"allow_groups": frozenset({"gpu"})}, "usermod -aG gpu ada"),
        ({"needs_reservation": True}, 'reservation = "NAME"'),
        ({"root_only": True}, "scontrol update PartitionName=fast RootOnly=NO"),
        ({"max_time_min": 20.0}, "time_limit_min = 20"),
        ({"max_memory_mb": 400.0}, "memory_mb = 400"),
    ],
)
def test_a_partition_that_does_not_take_a_class_is_told_with_its_mend(changes: dict[str, Any], line: str) -> None:
    assert only(items(with_partition("fast", **changes))).mends[0].line == line


def test_every_way_from_retraining_to_inference_is_found() -> None:
    hidden = with_partition("maintenance", nodes=frozenset({"s1", "x9"}))
    found = only(items(hidden))
    assert found.finding.check == "inference.closed"
    assert found.mends[0].line == "scontrol update PartitionName=maintenance DenyQos=high,low,mid"
    closed = with_partition("maintenance", nodes=frozenset({"s1"}), allow_groups=frozenset({"admins"}))
    assert items(closed) == {}
    reserved = replace(SITE, reservations={"r": Reservation("r", frozenset({"s1", "t1"}), users=frozenset({"ada"}))})
    assert only(items(reserved)).mends[0].line == "scontrol update ReservationName=r Nodes=t1"
    for_others = replace(SITE, reservations={"r": Reservation("r", SERVE, users=frozenset({"bob"}))})
    assert items(for_others) == {}


def test_nodes_that_serve_and_that_slurm_does_not_know_are_no_proof() -> None:
    item = only(items(terms=profile(inference={"nodes": "s[1-2],s7"})))
    assert (item.finding.check, item.mends[0].line) == ("inference.named", 'nodes = "s[1-2]"')
    unknown = items(terms=profile(inference={"partitions": ["web"]}))
    assert unknown["inference.named"].finding.outcome is Outcome.FAIL
    assert unknown["inference.reach.urgent"].finding.outcome is Outcome.INSUFFICIENT


def test_a_measured_checkpoint_asks_for_twice_its_time() -> None:
    assert items(replace(SITE, checkpoint_s=4.9)) == {}
    found = items(replace(SITE, checkpoint_s=20.4))
    assert found["preemption.grace.background"].mends[0].line == "sacctmgr -i modify qos low set GraceTime=41"


def test_a_job_that_is_exempt_from_preemption_for_a_while_is_told() -> None:
    found = items(replace(SITE, qos={**(SITE.qos or {}), "low": qos("low", exempt_min=120.0)}))
    assert "120 min" in only(found, Outcome.WAIT).finding.reason
    found = items(with_config(PreemptExemptTime="00:10:00"))
    assert set(found) == {"preemption.exempt.standard", "preemption.exempt.background"}


def test_without_accounting_a_queue_that_forgets_quickly_is_wrong() -> None:
    site = replace(with_config(AccountingStorageType="", MinJobAge="30 sec"), accounting_trouble="none")
    terms = profile(status={"accounting": False})
    found = items(replace(site, qos=None, associations=None, unseen={"qos": "-"}), terms)
    assert found["memory_of_jobs"].mends[0].line == "every_s = 15"


def test_a_slurm_that_does_not_answer_leaves_everything_unseen() -> None:
    found = items(Site(user="ada", unseen={"config": "connection refused"}, folder=Folder(False)))
    wrong = {name for name, item in found.items() if item.finding.outcome is Outcome.FAIL}
    assert wrong == {"controller", "spool.here"}
    assert "connection refused" in found["controller"].finding.reason
