"""Who may run what, as one session of sacctmgr: every process of it costs a third of a second."""

from __future__ import annotations

from minicluster.settings import Settings

CLASSES = ("urgent", "standard", "background")


def lines(settings: Settings) -> list[str]:
    """What makes the QOS, the accounts and their users, or sets them anew.

    `add` of what is there already is refused and the session goes on; `modify` sets the values every time. Retraining
    has no right to the QOS of inference, and the nodes of inference take no other.
    """
    processors = settings.training_nodes * settings.cpus
    grace = f"GraceTime={settings.grace_s}"
    retraining = ",".join(CLASSES)
    return [
        f"add cluster {settings.name}",
        f"add qos serving,{retraining}",
        "modify qos serving set Priority=500",
        f"modify qos background set Priority=10 {grace} Flags=DenyOnLimit MaxWall=1-0 GrpTRES=cpu={processors}",
        f"modify qos standard set Priority=100 {grace} Preempt=background Flags=DenyOnLimit MaxWall=12:00:00"
        f" MaxTRESPU=cpu={processors} MaxSubmitJobsPU=2000",
        "modify qos urgent set Priority=1000 GraceTime=0 Preempt=standard,background Flags=DenyOnLimit MaxWall=4:00:00"
        " MaxJobsPU=8",
        "add account retrain Description=retraining Organization=models",
        "add account serving Description=inference Organization=models",
        f"add user {settings.user} account=retrain defaultaccount=retrain",
        "add user root account=serving defaultaccount=serving",
        f"modify user {settings.user} where account=retrain set qos={retraining} defaultqos=standard",
        "modify user root where account=serving set qos=serving defaultqos=serving",
    ]


def check_lines(settings: Settings) -> list[str]:
    """What prints one line per class that is there, and one for the user."""
    return [
        "show qos format=name,preempt",
        f"show assoc user={settings.user} account=retrain format=user,defaultqos",
    ]


def complete(output: str, settings: Settings) -> bool:
    """Whether the answers to `check_lines` say that all is there."""
    wanted = {"urgent|background,standard", "standard|background", "background|", f"{settings.user}|standard"}
    return wanted <= {line.strip() for line in output.splitlines()}
