"""Who may run what, as lines of one session of sacctmgr: a process for each would take twice as long."""

from __future__ import annotations

from minicluster.settings import Settings

CLASSES = ("urgent", "standard", "background")
RETRAIN, SERVING = "retrain", "serving"


def qualities(settings: Settings) -> dict[str, str]:
    """The QOS by name, with their values."""
    processors = settings.training_nodes * settings.cpus
    grace = f"GraceTime={settings.grace_s}"
    # A job over a limit is refused instead of waiting for ever.
    deny = "Flags=DenyOnLimit"
    return {
        "serving": "Priority=500",
        "background": f"Priority=10 {grace} {deny} MaxWall=1-0 GrpTRES=cpu={processors}",
        "standard": f"Priority=100 {grace} Preempt=background {deny} MaxWall=12:00:00"
        f" MaxTRESPU=cpu={processors} MaxSubmitJobsPU=2000",
        "urgent": f"Priority=1000 GraceTime=0 Preempt=standard,background {deny} MaxWall=4:00:00 MaxJobsPU=8",
    }


def first_lines(settings: Settings) -> list[str]:
    """What makes QOS, accounts and users.

    Retraining has no right to the QOS of inference, and root, who serves, none to those of retraining.
    """
    rights = f"qos={','.join(CLASSES)} defaultqos=standard"
    return [
        f"add cluster {settings.name}",
        # All at once: a session knows only those QOS that were there when it first looked.
        f"add qos {','.join(qualities(settings))}",
        *later_lines(settings),
        f"add account {RETRAIN},{SERVING}",
        f"add user {settings.user} account={RETRAIN} defaultaccount={RETRAIN} {rights}",
        f"add user root account={SERVING} defaultaccount={SERVING} qos=serving defaultqos=serving",
    ]


def later_lines(settings: Settings) -> list[str]:
    """What gives the QOS the values of other settings."""
    return [f"modify qos {name} set {values}" for name, values in qualities(settings).items()]


def check_lines(settings: Settings) -> list[str]:
    """What prints a line per class, and one for the user."""
    return [
        "show qos format=name,preempt",
        f"show assoc user={settings.user} account={RETRAIN} format=user,defaultqos",
    ]


def complete(output: str, settings: Settings) -> bool:
    """Whether the answers to `check_lines` say that all is there."""
    wanted = {"urgent|background,standard", "standard|background", "background|", f"{settings.user}|standard"}
    return wanted <= {line.strip() for line in output.splitlines()}
