"""What people and outside systems tell a home, and who they are by the word of the operating system."""

from __future__ import annotations

import enum
import hashlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hpcretrain.backlog import ALL, MODEL
from hpcretrain.canonical import canonical
from hpcretrain.errors import InputError
from hpcretrain.evidence import Measure
from hpcretrain.priority import NAME, PriorityClass
from hpcretrain.signallines import line_of, parse_signals

MOST_CHARACTERS = 500
MOST_OF_POLICY = 100_000
MOST_SIGNALS, MOST_OF_SIGNALS = 10_000, 4_000_000


class Verb(enum.Enum):
    """What a message is for."""

    REQUEST = "request"
    CANCEL = "cancel"
    PROPOSE = "propose"
    """That another policy takes effect."""
    TELL = "tell"
    """What was measured elsewhere."""
    APPROVE = "approve"
    DENY = "deny"
    STOP = "stop"
    RESUME = "resume"
    ROLLBACK = "rollback"
    BREAK_GLASS = "break_glass"
    REVIEW = "review"


PROMPT = frozenset({Verb.STOP, Verb.ROLLBACK})
"""What is done before all that is due, and before all that was asked earlier."""


@dataclass(frozen=True)
class Person:
    """A person, as the operating system or the site's own identity source tells.

    Attributes:
        name: The person's name.
        groups: Names of the groups that the person is in now.
        owner: Whether the home belongs to this user.
        identity: Who vouches for it.
    """

    name: str
    groups: frozenset[str] = frozenset()
    owner: bool = False
    identity: str = "operating system"

    def among(self, names: Sequence[str]) -> bool:
        """Whether one of `names` is the user's, or, behind a percent sign, a group's of the user."""
        return any(name[1:] in self.groups if name.startswith("%") else name == self.name for name in names)


@dataclass(frozen=True)
class Message:
    """A message. What has the same identifier is the same message, however often it comes.

    Attributes:
        id: 32 hexadecimal digits; the token of an approval.
        verb: What it is for.
        reason: Why, in one line.
        subject: The ask that is answered, the request that is to end, or what is to stop; None to request.
        priority_class: The class that is requested; None otherwise.
        at_once: Whether a stop ends what is under way, too.
        deadline: Until when what is requested must serve; None where nothing presses.
        policy: The canonical text of the policy that is proposed; None otherwise.
        signals: Lines of signals that are told; None otherwise. See `measures`.
    """

    id: str
    verb: Verb
    reason: str = ""
    subject: str | None = None
    priority_class: PriorityClass | None = None
    at_once: bool = False
    deadline: datetime | None = None
    policy: str | None = None
    signals: str | None = None

    def __post_init__(self) -> None:
        if problem := _problem(self):
            raise InputError(problem)

    @property
    def content(self) -> dict[str, Any]:
        """As what JSON can hold."""
        return {
            "id": self.id,
            "verb": self.verb.value,
            "reason": self.reason,
            "subject": self.subject,
            "priority_class": self.priority_class.value if self.priority_class else None,
            **({"at_once": True} if self.at_once else {}),
            **({"deadline": self.deadline.isoformat()} if self.deadline else {}),
            **({"policy": self.policy} if self.policy is not None else {}),
            **({"signals": self.signals} if self.signals is not None else {}),
        }

    def measures(self) -> list[Measure]:
        """The signals that are told.

        Raises:
            InputError: Lines cannot be read, or are too many; nothing of them counts.
        """
        lines = (self.signals or "").encode().splitlines()
        if len(lines) > MOST_SIGNALS:
            raise InputError(f"{len(lines):,} signals; at most {MOST_SIGNALS:,} are told at once: tell them in parts")
        return parse_signals(lines, "signals")

    @property
    def text(self) -> str:
        """As JSON."""
        return canonical(self.content)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Message:
        """A message from what its JSON holds.

        Raises:
            InputError: It is none.
        """
        try:
            wanted = content["priority_class"]
            return cls(
                str(content["id"]),
                Verb(content["verb"]),
                str(content["reason"]),
                None if content["subject"] is None else str(content["subject"]),
                PriorityClass(wanted) if wanted else None,
                content.get("at_once", False) is True,
                datetime.fromisoformat(until) if (until := content.get("deadline")) else None,
                None if content.get("policy") is None else str(content["policy"]),
                None if content.get("signals") is None else str(content["signals"]),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(f"no message: {error!r}") from error

    @classmethod
    def parse(cls, text: str) -> Message:
        """A message from its JSON.

        Raises:
            InputError: It is none.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"no message: {error}") from error
        return cls.of(content)


def identifier(key: str | None = None) -> str:
    """The identifier of a message: the same for the same key, else one that nobody can guess."""
    return hashlib.sha256(key.encode()).hexdigest()[:32] if key is not None else secrets.token_hex(16)


def telling(measures: Sequence[Measure], reason: str = "") -> Message:
    """The message that tells signals.

    Raises:
        InputError: They are too many.
    """
    if len(measures) > MOST_SIGNALS:
        raise InputError(f"{len(measures):,} signals; at most {MOST_SIGNALS:,} are told at once: tell them in parts")
    lines = "\n".join(line_of(measure) for measure in measures)
    return Message(identifier(), Verb.TELL, reason, signals=lines)


def _problem(message: Message) -> str | None:
    if len(message.id) != 32 or set(message.id) - set("0123456789abcdef"):
        return f"{message.id[:40]!r} is no identifier of a message"
    if len(message.reason) > MOST_CHARACTERS or not message.reason.isprintable():
        return f"a reason is one line of at most {MOST_CHARACTERS} characters that can be printed"
    for name, verb in (("policy", Verb.PROPOSE), ("signals", Verb.TELL)):
        if getattr(message, name) is not None and message.verb is not verb:
            return f"only to {verb.value} holds a message {name}"
    if message.deadline is not None and message.deadline.tzinfo is None:
        return "a deadline has a time zone"
    if message.verb is Verb.REQUEST:
        if message.priority_class is None:
            return "a request names a class"
        return None if message.reason.strip() else "a request has a reason: why is the model to be retrained?"
    if message.verb in (Verb.STOP, Verb.RESUME, Verb.ROLLBACK) and not message.reason.strip():
        return f"a {message.verb.value} has a reason: why, in one line?"
    if message.verb is Verb.ROLLBACK:
        return None
    if message.verb in (Verb.STOP, Verb.RESUME):
        if message.subject in (MODEL, ALL) or re.fullmatch(NAME, message.subject or ""):
            return None
        return f"{message.subject!r} cannot be stopped; name {MODEL}, a class, or {ALL}"
    if message.verb is Verb.PROPOSE:
        if not message.policy or len(message.policy) > MOST_OF_POLICY:
            return f"a proposal holds a policy, of at most {MOST_OF_POLICY:,} characters"
        return None if message.reason.strip() else "a proposal has a reason: why is the policy to change?"
    if message.verb is Verb.TELL:
        if not message.signals or len(message.signals.encode()) > MOST_OF_SIGNALS:
            return f"signals are told in at most {MOST_OF_SIGNALS:,} bytes at once: tell them in parts"
        return None
    if not message.subject or len(message.subject) > MOST_CHARACTERS or not message.subject.isprintable():
        return f"to {message.verb.value.replace('_', ' ')}, name what: `hpcretrain status` shows it"
    if message.verb in (Verb.BREAK_GLASS, Verb.REVIEW) and not message.reason.strip():
        return f"to {message.verb.value.replace('_', ' ')}, say why: --reason"
    return None
