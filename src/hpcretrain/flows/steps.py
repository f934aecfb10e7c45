"""What flows do: calls of the library, each a task where a flow is steered."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from hpcretrain.flows.names import SUBMIT_TAG, TRIAGE_TAG, VALIDATION
from hpcretrain.flows.publish import publish
from hpcretrain.flows.running import PATIENCE_S, slot, steered, step

Until = Literal["observe", "triage", "retrain", "release"]


class Reference(TypedDict):
    """What a flow results in: where to read on, never what stands there.

    Attributes:
        ledger_head: Hash of the last decision.
        made: Identifiers of the records that this call made.
        awaits: Identifiers of the training jobs that are under way.
        request: The request that is open or being trained for; None without one.
        asks: Identifiers of what awaits an approval, by what is asked: "run" or "release".
    """

    ledger_head: str
    made: list[str]
    awaits: list[str]
    request: str | None
    asks: dict[str, str]


def _advance(home: str, until: Until) -> Reference:
    from hpcretrain import ways

    # Whoever calls a flow as a function waits as long as for a command.
    stand = ways.tick(Path(home), until, patience_s=PATIENCE_S if steered() else ways.PATIENCE_S)
    return {
        "ledger_head": stand["ledger_head"],
        "made": [each["id"] for each in stand["made"]],
        "awaits": [each["job"] for each in stand["awaits"]],
        "request": stand["open"] and stand["open"]["request"],
        # No run waits for a policy.
        "asks": {each["what"]: each["id"] for each in stand["asks"] if each["what"] != "policy"},
    }


@step("observe what is due")
def look(home: str) -> Reference:
    """Record signals and assessments of the batches that are due."""
    return _advance(home, "observe")


@step("request and decide", tags=(TRIAGE_TAG,))
def weigh(home: str) -> Reference:
    """Make the request that is called for, and decide about it."""
    return _advance(home, "triage")


@step("submit training", tags=(SUBMIT_TAG,))
def submit(home: str) -> Reference:
    """Submit the jobs of the training that was decided on, unless that was done."""
    return _advance(home, "retrain")


@step("collect and validate")
def collect(home: str) -> Reference:
    """Take up what jobs came to, judge it, and submit what follows; one of Prefect's slots for validation is held."""
    return _bounded(home, "retrain")


@step("promote or reject")
def conclude(home: str) -> Reference:
    """Release the candidate that passed; close the cycle of one that did not."""
    return _advance(home, "release")


@step("do all that is due")
def catch_up(home: str) -> Reference:
    """Do whatever is due, at whatever step it stopped; it may be a validation."""
    return _bounded(home, "release")


def _bounded(home: str, until: Until) -> Reference:
    if not steered():
        return _advance(home, until)
    with slot(VALIDATION):
        return _advance(home, until)


@step("publish")
def tell(home: str) -> None:
    """Tell Prefect what the ledger says and Prefect does not know yet."""
    publish(Path(home))


@step("write the page")
def write_page(home: str) -> str:
    """The page about the home; its path."""
    from hpcretrain.wiring import write_report

    return str(write_report(home))


@step("end a training")
def give_up(home: str, request: str, key: str, reason: str) -> None:
    """Checkpoint and cancel the jobs of a request's training, and close its cycle; once for each `key`."""
    from hpcretrain.ways import cancel

    cancel(Path(home), request, reason, key, PATIENCE_S)
