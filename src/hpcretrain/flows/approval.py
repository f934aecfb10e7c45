"""Where a person has to say yes: the run is suspended, and shows what an approver needs to know.

Prefect does not know who clicks. So the approval is made by `hpcretrain approve`, by somebody whom the operating system
knows; the form takes the token that it prints, and nothing else makes the run go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefect.client.schemas.objects import FlowRun
from prefect.input import RunInput

from hpcretrain.flows.running import steered

if TYPE_CHECKING:
    from hpcretrain.flows.steps import Reference
    from hpcretrain.records import Ask

What = Literal["run", "release"]


class Token(RunInput):
    """What the form takes."""

    token: str = ""


def await_approval(home: str, what: What, came: Reference, again: Callable[[str], Reference]) -> Reference:
    """Suspend the run while an approval is awaited; how it stands then.

    A resumed run begins anew, comes here again, and finds what was filled in.

    Args:
        home: Folder of the home.
        what: What is to be approved.
        came: How the home stands.
        again: Says how it stands now.
    """
    if not steered():
        return came
    from prefect.flow_runs import suspend_flow_run

    attempt, refused = 0, ""
    while (ask := came["asks"].get(what)) is not None:
        form = Token.with_initial_data(description=_described(Path(home), ask, refused))
        filled = suspend_flow_run(wait_for_input=form, key=f"{ask}-{attempt}")
        refused = _refused(Path(home), ask, filled.token)
        attempt += 1
        came = again(home)
    return came


def asked_in(run: FlowRun) -> str | None:
    """The ask that a run is suspended for; None for any other run."""
    if run.state is None or not run.state.is_paused():
        return None
    found = re.fullmatch(r"(ask-[0-9a-f]+)-\d+", run.state.state_details.pause_key or "")
    return found[1] if found else None


def token_of(home: Path, ask: str) -> str:
    """The token of what was answered to an ask; "" where nothing was."""
    from hpcretrain.wiring import read_history

    history, _ = read_history(home)
    for cycle in history.cycles:
        for said in cycle.asks:
            if said.id == ask and (answer := cycle.answer(said)):
                return answer.token
    return ""


def _refused(home: Path, ask: str, token: str) -> str:
    """Why a token does not count; "" where it does."""
    if token.strip() and token.strip() == token_of(home, ask):
        return ""
    return f"No answer to {ask} has the token {_plain(token) or '(none)'}."


def _described(home: Path, identifier: str, refused: str) -> str:
    """What an approver needs to know, as Markdown."""
    from hpcretrain.wiring import read_history

    ask: Any = read_history(home)[0].known[identifier]
    rows = [
        f"| {_plain(each.check)} | {_plain(each.observed)} | {_plain(each.limit)} | {_plain(each.reason)} |"
        for each in ask.facts
    ]
    return "\n".join(
        [
            *([f"**{refused}**", ""] if refused else []),
            _asked(ask),
            "",
            "| | seen | limit | |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"An approver runs `hpcretrain approve {identifier}` (or `deny`): it knows who it is, and prints a token.",
            "This run then goes on by itself within a minute, or at once with the token below.",
        ]
    )


def _asked(ask: Ask) -> str:
    what = "training" if ask.asked.value == "run" else "release"
    overruled = f"; it would set aside {', '.join(map(_plain, ask.overrules))}" if ask.overrules else ""
    until = f"until {ask.expires_at:%Y-%m-%d %H:%M} UTC{overruled}"
    who = f"Asked for by {_plain(ask.requester) or 'nobody in person'}."
    model = f"**{_plain(ask.model)}** ({ask.priority_class.value})"
    return f"The {what} of {model} for {_plain(ask.subject)} awaits an approval {until}. {who}"


def _plain(value: object) -> str:
    """Text that Markdown and HTML leave as it is; what people wrote may stand in it."""
    text = "" if value is None else str(value)
    return re.sub(r"([\\`*_{}\[\]<>|#&~])", lambda found: f"&#{ord(found[1])};", text)
