"""The text of slurm.conf, slurmdbd.conf and cgroup.conf."""

from __future__ import annotations

from collections.abc import Mapping

from minicluster.places import Places
from minicluster.settings import Settings, hostlist

# What makes a job start within a second of its submission instead of half a minute.
FAST_SCHEDULER = (
    "sched_min_interval=0",
    "sched_interval=1",
    "batch_sched_delay=0",
    "bf_interval=1",
    "bf_min_age_reserve=0",
    "default_queue_depth=1000",
    "partition_job_depth=1000",
)
PREEMPTION_ORDER = ("preempt_youngest_first", "preempt_reorder_count=1", "preempt_strict_order")


def slurm_conf(settings: Settings, places: Places, ports: Mapping[str, int]) -> str:
    """The whole of slurm.conf, from which clients, slurmctld and every slurmd read."""
    sections = (
        _identity(settings, places, ports),
        _timers(settings),
        _jobs(settings),
        _scheduling(settings),
        _accounting(settings, places, ports),
        _nodes(settings, ports),
        _partitions(settings),
        settings.extra,
    )
    return "\n".join(line for section in sections for line in section) + "\n"


def write(settings: Settings, places: Places, ports: Mapping[str, int]) -> None:
    """Write all files of configuration, each whole or not at all."""
    texts = {places.conf: slurm_conf(settings, places, ports), places.cgroup_conf: cgroup_conf()}
    if settings.accounting:
        texts[places.dbd_conf] = slurmdbd_conf(settings, places, ports)
    for path, text in texts.items():
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        # slurmdbd insists on it.
        fresh.chmod(0o600 if path == places.dbd_conf else 0o644)
        fresh.replace(path)


def _auth(settings: Settings, places: Places) -> str:
    return f"AuthInfo=socket={places.munge_socket},cred_expire={settings.cred_expire_s}"


def _identity(settings: Settings, places: Places, ports: Mapping[str, int]) -> tuple[str, ...]:
    return (
        f"ClusterName={settings.name}",
        "SlurmctldHost=localhost(127.0.0.1)",
        f"SlurmctldPort={ports['slurmctld']}",
        # Nothing listens beyond loopback.
        "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        _auth(settings, places),
        "CredType=cred/munge",
        f"StateSaveLocation={places.controller}",
        f"SlurmdSpoolDir={places.nodes}/%n",
        f"SlurmctldPidFile={places.run}/slurmctld.own.pid",
        f"SlurmdPidFile={places.run}/%n.own.pid",
        f"SlurmctldLogFile={places.log}/slurmctld.log",
        f"SlurmdLogFile={places.log}/%n.log",
        "SlurmctldDebug=info",
        "SlurmdDebug=info",
        "LogTimeFormat=iso8601_ms",
        "SwitchType=switch/none",
        "MpiDefault=none",
        "ReturnToService=2",
        # Nodes have the size that is claimed, not this machine's.
        "SlurmdParameters=config_overrides",
    )


def _timers(settings: Settings) -> tuple[str, ...]:
    return (
        "SlurmctldTimeout=30",
        f"SlurmdTimeout={settings.slurmd_timeout_s}",
        "InactiveLimit=0",
        "MinJobAge=300",
        f"KillWait={settings.kill_wait_s}",
        "CompleteWait=0",
        "MessageTimeout=10",
        "TCPTimeout=2",
        "BatchStartTimeout=10",
        # Less than half a minute drains nodes on a busy machine.
        "UnkillableStepTimeout=180",
    )


def _jobs(settings: Settings) -> tuple[str, ...]:
    tracking: tuple[str, ...]
    if settings.cgroups:
        tracking = (
            "ProctrackType=proctrack/cgroup",
            "TaskPlugin=task/cgroup",
            "JobAcctGatherType=jobacct_gather/cgroup",
        )
    else:
        tracking = (
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "JobAcctGatherType=jobacct_gather/linux",
            "JobAcctGatherParams=OverMemoryKill,UsePss",
        )
    return (
        *tracking,
        "JobAcctGatherFrequency=task=1",
        "MaxArraySize=5001",
        "MaxJobCount=20000",
        # A job that can never run is refused instead of waiting for ever.
        "EnforcePartLimits=ALL",
        f"JobRequeue={int(settings.requeue)}",
    )


def _scheduling(settings: Settings) -> tuple[str, ...]:
    pace = FAST_SCHEDULER if settings.scheduler == "fast" else ()
    lines = [
        "SchedulerType=sched/backfill",
        f"SchedulerParameters={','.join((*pace, *PREEMPTION_ORDER))}",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_CPU_Memory",
        "DefMemPerCPU=500",
        f"PreemptType=preempt/{'qos' if settings.accounting else 'partition_prio'}",
        f"PreemptMode={settings.preempt_mode.upper()}",
    ]
    if settings.user_signal:
        # Since 23.02 this is PreemptParameters=send_user_signal.
        lines.append("SlurmctldParameters=preempt_send_user_signal")
    if settings.accounting:
        lines += [
            "PriorityType=priority/multifactor",
            "PriorityWeightQOS=100000",
            "PriorityWeightAge=1000",
            "PriorityWeightFairshare=5000",
            "PriorityWeightPartition=1000",
            "PriorityMaxAge=1-0",
            "PriorityCalcPeriod=1",
        ]
    else:
        lines.append("PriorityType=priority/basic")
    return tuple(lines)


def _accounting(settings: Settings, places: Places, ports: Mapping[str, int]) -> tuple[str, ...]:
    if not settings.accounting:
        return ("AccountingStorageType=accounting_storage/none",)
    return (
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={ports['slurmdbd']}",
        f"AccountingStoragePass={places.munge_socket}",
        "AccountingStorageEnforce=associations,limits,qos,safe",
        "AccountingStoreFlags=job_comment,job_script,job_env",
    )


def _nodes(settings: Settings, ports: Mapping[str, int]) -> tuple[str, ...]:
    size = f"CPUs={settings.cpus} RealMemory={settings.memory_mb}"
    return tuple(
        f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[node]} {size} State=UNKNOWN"
        for node in settings.nodes
    )


def _partitions(settings: Settings) -> tuple[str, ...]:
    inference, training = hostlist(settings.inference), hostlist(settings.training)
    if settings.accounting:
        serving, retraining, urgent, grace = (
            "AllowQos=serving",
            "AllowQos=urgent,standard,background",
            "AllowQos=urgent",
            "",
        )
    else:
        # Without accounting nobody checks a QOS.
        serving, retraining, urgent, grace = "AllowGroups=root", "", "", f"GraceTime={settings.grace_s}"
    return (
        f"PartitionName=inference Nodes={inference} {serving} DefaultTime=1-0 MaxTime=INFINITE State=UP",
        f"PartitionName=train Nodes={training} {retraining} {grace} Default=YES DefaultTime=10 MaxTime=1-0"
        " PriorityTier=1 State=UP",
        f"PartitionName=urgent Nodes={training} {urgent} DefaultTime=10 MaxTime=1-0 PriorityTier=10 State=UP",
    )


def slurmdbd_conf(settings: Settings, places: Places, ports: Mapping[str, int]) -> str:
    """The whole of slurmdbd.conf, which only root may read."""
    return "\n".join(
        (
            "DbdHost=localhost",
            "DbdAddr=127.0.0.1",
            f"DbdPort={ports['slurmdbd']}",
            "SlurmUser=root",
            "AuthType=auth/munge",
            _auth(settings, places),
            "CommunicationParameters=NoInAddrAny",
            f"PidFile={places.run}/slurmdbd.own.pid",
            f"LogFile={places.log}/slurmdbd.log",
            "DebugLevel=info",
            "LogTimeFormat=iso8601_ms",
            "MessageTimeout=10",
            "StorageType=accounting_storage/mysql",
            "StorageHost=localhost",
            "StorageLoc=slurm_acct_db",
            # MariaDB knows root by the socket: no password.
            "StorageUser=root",
            "",
        )
    )


def cgroup_conf() -> str:
    """The whole of cgroup.conf, read only where processes are tracked by cgroups."""
    return "\n".join(
        (
            "CgroupMountpoint=/sys/fs/cgroup",
            "CgroupPlugin=cgroup/v1",
            "CgroupAutomount=no",
            "ConstrainCores=no",
            "ConstrainRAMSpace=yes",
            "ConstrainSwapSpace=no",
            "",
        )
    )
