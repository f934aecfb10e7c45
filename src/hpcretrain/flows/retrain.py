"""Train what was decided on; nothing of Prefect is held while jobs wait or run."""

from __future__ import annotations

from uuid import uuid4

from prefect.context import FlowRunContext

from hpcretrain.flows.names import WHATEVER
from hpcretrain.flows.release import release
from hpcretrain.flows.running import home_flow, steered
from hpcretrain.flows.runs import shown_by_another, start
from hpcretrain.flows.steps import Reference, collect, submit, tell, weigh


@home_flow("retrain", "retraining for {request}")
def retrain(home: str, request: str = WHATEVER, decision: str = "", priority_class: str = "standard") -> Reference:
    """Submit the jobs, and come back when they ended, until the training comes to its end; then release or reject.

    While jobs are under way a deployment's run is suspended: no process, slot or lease is held. `reconcile` resumes it,
    and it begins anew; each step does what is still to be done. As a plain function it returns at that point.

    Args:
        home: Folder of the home that lives.
        request: The request that is trained for. Default: the one that is open; a deployment's run leaves it to another
            one, which names it.
        decision: The decision that ordered it.
        priority_class: The class that the jobs run in.
    """
    if steered() and request == WHATEVER:
        # The decision's event starts a run that says what it is about: canceling that cancels the training.
        came = weigh(home)
        tell(home)
        return came
    came = collect(home) if _resumed() else submit(home)
    tell(home)
    if request not in (came["request"], WHATEVER) or came["request"] is None:
        # Somebody else brought it to its end.
        return came
    if steered() and shown_by_another(home, request):
        return came
    if came["awaits"]:
        if steered():
            from prefect.flow_runs import suspend_flow_run

            # Prefect lets the same key suspend a run once; this one is suspended at each wait.
            suspend_flow_run(key=str(uuid4()))
        return came
    if steered():
        # A run of its own, since Prefect suspends no run inside another one, and a release may await an approval.
        start(home, "release", priority_class, request, once=request)
        return came
    concluded: Reference = release(home, request=request)
    return concluded


def _resumed() -> bool:
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.empirical_policy.pause_keys)
