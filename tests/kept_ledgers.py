"""Ledgers as a version of the rules wrote them, kept for good: any later version makes their decisions again.

Whoever changes a rule so that one of them would come out otherwise gives the rules a new version, keeps the code of the
one before in `hpcretrain.weigh.CODE`, and has `python tests/kept_ledgers.py` write ledgers of the new one beside these.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from lives import Home
from replays import replay
from tables import configure, orders, write_policy

from hpcretrain.config.load import load_policy, policy_text
from hpcretrain.messages import Message, Person, Verb, identifier
from hpcretrain.records import RULE_VERSION, Asked, PriorityClass, Record, parse

FOLDER = Path(__file__).parent / "ledgers"
HOUR = timedelta(hours=1)
ANN, BOB, CAT = Person("ann"), Person("bob"), Person("cat")
GOVERNED = """
[approvals]
run = ["urgent"]
release = ["urgent"]
expires_h = 24

[roles.engineer]
members = ["ann"]
ask = ["urgent", "standard"]
stop = true
roll_back = true
activate = true
break_glass = true

[roles.lead]
members = ["bob", "cat"]
approve_run = ["urgent"]
approve_release = ["urgent"]
review = true
activate = true

[break_glass]
minutes = 240
review_h = 48
"""


def kept() -> dict[str, list[Record]]:
    """The ledgers, by name: the records of each."""
    return {path.name: read(path) for path in sorted(FOLDER.glob("*.jsonl.gz"))}


def read(path: Path) -> list[Record]:
    """Records, one a line."""
    return [parse(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def write(name: str, records: Iterable[Record]) -> Path:
    """Keep a ledger of the rules in force, unless one of that name is kept already."""
    path = FOLDER / f"rules-{RULE_VERSION}-{name}.jsonl.gz"
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        text = "".join(f"{record.body}\n" for record in records)
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


def unattended(folder: Path) -> list[Record]:
    """A backtest in which the world changes, and a watched release, twice as long as one would do."""
    return list(replay(configure(folder, orders()), folder / "home").known.values())


def attended(folder: Path) -> list[Record]:
    """A home in which people ask, approve, deny, stop, break the glass, change the policy and take a release back."""
    named = write_policy(folder, weight="0.0")
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text() + GOVERNED)
    home = Home(configure(folder, orders(rows=8_000, minutes=16), **named), folder / "home")
    now = home.until + 3 * home.step + HOUR
    home.advance(now)

    def says(person: Person, verb: Verb, subject: str | None = None, **more: object) -> None:
        nonlocal now
        now += HOUR
        home.answer(now, Message(identifier(), verb, "for the record", subject, **more), person)  # type: ignore[arg-type]

    def approved(what: Asked) -> None:
        asked = home.history().cycles[-1].asked(what)
        if asked is not None and asked[1] is None:
            says(BOB, Verb.APPROVE, asked[0].id)

    says(ANN, Verb.STOP, "urgent")
    says(ANN, Verb.REQUEST, priority_class=PriorityClass.URGENT)
    approved(Asked.RUN)
    says(ANN, Verb.RESUME, "urgent")
    for batch in range(4, 9):
        approved(Asked.RUN)
        approved(Asked.RELEASE)
        now = home.until + batch * home.step + HOUR
        home.advance(now)
    policy.write_text(policy.read_text().replace("cooldown_batches = 2", "cooldown_batches = 3"))
    says(ANN, Verb.PROPOSE, policy=policy_text(load_policy(policy)))
    for ask, _ in list(home.history().asked.values()):
        says(BOB, Verb.APPROVE, ask.id)
    says(ANN, Verb.REQUEST, priority_class=PriorityClass.URGENT)
    asked = home.history().cycles[-1].asked(Asked.RUN)
    if asked is not None:
        says(CAT, Verb.DENY, asked[0].id)
    says(ANN, Verb.REQUEST, priority_class=PriorityClass.URGENT)
    says(ANN, Verb.BREAK_GLASS, home.history().cycles[-1].request.id)
    now += HOUR
    home.advance(now)
    if owed := home.history().review_owed:
        says(BOB, Verb.REVIEW, owed.id)
    says(ANN, Verb.ROLLBACK)
    now = home.until + 10 * home.step + HOUR
    home.advance(now)
    return list(home.history().known.values())


def main() -> None:
    """Keep a ledger of each kind of home."""
    for name, make in (("unattended", unattended), ("attended", attended)):
        with tempfile.TemporaryDirectory() as folder:
            print(write(name, make(Path(folder))), file=sys.stderr)


if __name__ == "__main__":
    main()
