"""The result of a backtest and the state of a home as text, readable in 100 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpcretrain.cycle import Cycle
from hpcretrain.records import Closing, Outcome
from hpcretrain.report.asks import ask_line
from hpcretrain.report.cluster import cluster_line
from hpcretrain.report.explain import owed_line


def show_result(result: Mapping[str, Any]) -> str:
    """A table by period, a line a cycle, and a summary."""
    primary, summary = result["primary_metric"], result["summary"]
    names = list(result["periods"][0]["served"]) if result["periods"] else [primary]
    lines = [f"{result['model']}: {primary} served, by the frozen first model, and by ungated retraining", ""]
    guards = names[1:2]
    head = f"{'period':<12}{'rows':>9}  " + "".join(f"{f'{name} {arm}':>18}" for name in names[:1] for arm in _ARMS)
    lines.append(head + "".join(f"{f'{name} served':>18}" for name in guards))
    for period in result["periods"]:
        cells = [period[arm][primary] for arm in _ARMS] + [period["served"][name] for name in guards]
        lines.append(
            f"{period['start'][:10]:<12}{period['rows']:>9,}  " + "".join(f"{_number(cell):>18}" for cell in cells)
        )
    lines.append(f"{'mean':<12}{'':>9}  " + "".join(f"{_number(summary[arm]):>18}" for arm in _ARMS))
    lines += ["", "cycles" if result["cycles"] else "no retraining was requested"]
    lines += [show_cycle(cycle) for cycle in result["cycles"]]
    lines += [
        "",
        f"{summary['retrains']} retrainings, {summary['releases']} released, {summary['rollbacks']} rolled back; "
        f"CPU of fits {summary['train_cpu_s']:.3g} s, ungated {summary['ungated_train_cpu_s']:.3g} s",
        *([cluster_line(result["cluster"])] if "cluster" in result else []),
        f"ledger head {result['ledger_head']}",
    ]
    return "\n".join(lines)


_ARMS = ("served", "frozen", "ungated")


def show_cycle(cycle: Mapping[str, Any]) -> str:
    """One line: when, how urgent, what came of it, why, and the beginning of its identifier."""
    end = cycle["decision"]
    if cycle["verdict"] is not None:
        end = f"{cycle['stage']}: {cycle['verdict']}"
    if cycle["released"]:
        end = f"{'rolled back' if cycle['rolled_back'] else 'released'}: {cycle['window']['name']}"
    if cycle["closing"] in (Closing.CANCELED.value, Closing.SUPERSEDED.value):
        end = cycle["closing"]
    triggers = ", ".join(cycle["triggers"])
    if len(triggers) > _TRIGGERS_WIDTH:
        triggers = f"{cycle['triggers'][0]} +{len(cycle['triggers']) - 1}"
    return (
        f"  {cycle['requested_at'][:10]}  {cycle['class']:<10} {cycle['score']:>4}  {end:<24}"
        f"{triggers:<{_TRIGGERS_WIDTH}}  {cycle['id'][:16]}"
    )


_TRIGGERS_WIDTH = 26


def show_progress(what: str, done: int, count: int, cycle: Cycle | None) -> str:
    """One line on how far a backtest is."""
    line = f"[{done:>{len(str(count))}}/{count}] {what}"
    if cycle is None:
        return line
    return f"{line}  last request {cycle.request.at:%Y-%m-%d}: {_came_to(cycle)}"


def _came_to(cycle: Cycle) -> str:
    if cycle.rollback:
        return "rolled back"
    if cycle.release:
        return "released"
    judged = cycle.judged
    if judged is not None and judged.outcome is not Outcome.PASS:
        return f"candidate not released ({judged.outcome.value})"
    return cycle.decisions[-1].action.value if cycle.decisions else "open"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def show_stand(stand: Mapping[str, Any]) -> str:
    """How a home that lives stands after a tick."""
    ticks, awaits = stand["ticks"], stand["awaits"]
    done = f"{len(ticks)} batches observed, the last until {ticks[-1]}" if ticks else "nothing was due"
    lines = [f"{stand['model']}: {done}"]
    if stand["serves"]:
        score = "" if stand["score"] is None else f", score {stand['score']} of 1000"
        lines.append(f"{stand['serves']} serves{score}")
    lines += [f"waits for {each['job']}: {each['stands']}" for each in awaits]
    lines += [owed_line(stand["review_owed"])] if stand["review_owed"] else []
    lines += [ask_line(each) for each in stand["asks"]]
    lines.append(f"the next batch is complete at {stand['next']}")
    return "\n".join(lines)


def show_answer(answer: Mapping[str, Any]) -> str:
    """What came of a message."""
    if answer["done"] is None:
        return f"{answer['reason']}\ntoken {answer['token']}"
    head = answer["reason"] if answer["done"] else f"refused: {answer['reason']}"
    return f"{head}\ntoken {answer['token']}"


def show_backlog(backlog: Mapping[str, Any]) -> str:
    """Who waits, in order, and what runs."""
    lines = [owed_line(backlog["review_owed"])] if backlog["review_owed"] else []
    lines += [
        f"stopped by {each['by']}: {each['scope'] or 'this model'} ({each['reason']})" for each in backlog["stops"]
    ]
    lines += [f"{each['check']}: {each['reason']}" for each in backlog["troubles"]]
    for each in backlog["running"]:
        lines.append(
            f"runs  {each['request']}  {each['model']}, {each['priority_class']}; {each['cpu_hours']:.3g} CPU hours "
            f"reserved; until {each['ends'] or 'unknown'}"
        )
    for each in backlog["waiting"]:
        until = f", until {each['deadline']}" if each["deadline"] else ""
        asker = f" by {each['requester']}" if each["requester"] else ""
        lines.append(
            f"{each['place']:>4}  {each['request']}  {each['model']}, {each['priority_class']}; asked{asker} "
            f"{each['asked_at']}{until}"
        )
        lines.append(
            f"      begins {each['expected_start'] or 'unknown'}; about {each['expected_hours']:.3g} h, "
            f"{each['expected_cpu_hours']:.3g} CPU hours{_priced(each)}"
        )
        for lack in each["waits_for"]:
            seen = "" if lack["observed"] is None else f" (seen {lack['observed']}, limit {lack['limit']})"
            lines.append(f"      {lack['outcome']}  {lack['check']}: {lack['reason']}{seen}")
    return "\n".join(lines) or "nothing waits, and nothing runs"


def _priced(waiting: Mapping[str, Any]) -> str:
    cost, currency = waiting["expected_cost"], waiting["currency"] or ""
    return "" if cost is None else f", about {cost:.3g} {currency}".rstrip()


def show_routes(routes: Sequence[Mapping[str, Any]]) -> str:
    """What came of a test of who is told."""
    if not routes:
        return "nobody is told: the configuration has no [[notify]]"
    return "\n".join(f"{each['route']} ({each['kind']}): {each['problem'] or 'taken'}" for each in routes)
