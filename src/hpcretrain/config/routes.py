"""The types of the routes by which people are told; part of a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1)]
Event = Literal[
    "approval_needed",
    "approval_expires",
    "hold_and_investigate",
    "mend_data",
    "collect_labels",
    "blind",
    "budget_spent",
    "window_planned",
    "window_begun",
    "released",
    "rolled_back",
    "break_glass",
    "overrun",
    "ledger_damaged",
]


class _Route(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100, description="Name of the route.")
    tiers: tuple[Annotated[int, Field(ge=1, le=5)], ...] | None = Field(
        default=None, min_length=1, description="Tiers that are told by it. Left out: all."
    )
    events: tuple[Event, ...] | None = Field(
        default=None, min_length=1, description="Events that are told by it (docs/message-templates.md). Left out: all."
    )

    def takes(self, event: str, tier: int) -> bool:
        """Whether it is told of an event of a tier; of a test always."""
        known = self.events is None or event in self.events
        return event == "test" or (known and (self.tiers is None or tier in self.tiers))


class MailRoute(_Route):
    """By e-mail."""

    kind: Literal["mail"]
    to: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(description="Addresses.")
    sender: Name = Field(description="Address that it comes from.")
    host: Name = Field(description="The mail server.")
    port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description='How the line is kept from others. "none": only without credentials.'
    )
    ca_file: Name | None = Field(default=None, description="Certificates to trust, PEM. Left out: the system's.")
    credentials: Name | None = Field(
        default=None, description="File of mode 0600 with user and password, a line each. Left out: no login."
    )

    @model_validator(mode="after")
    def _kept(self) -> MailRoute:
        if self.security == "none" and self.credentials is not None:
            raise ValueError('credentials: are not sent over an open line; set security = "starttls" or "tls"')
        return self


class WebhookRoute(_Route):
    """By a POST of JSON."""

    kind: Literal["webhook"]
    url: str = Field(pattern=r"^https?://[^\s]+$", description="Where to.")
    secret: Name | None = Field(
        default=None,
        description="File of mode 0600 with the key by which each body is signed (HMAC-SHA256). Left out: unsigned.",
    )
    authorization: Name | None = Field(
        default=None, description="File of mode 0600 with what the header Authorization holds. Left out: no header."
    )


class CommandRoute(_Route):
    """By a program of one's own."""

    kind: Literal["command"]
    command: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        description="A program and its arguments, run without a shell; it gets the notice as JSON on standard input."
    )


class PrefectRoute(_Route):
    """By a notification block of the Prefect server that this user works with."""

    kind: Literal["prefect"]
    block: str = Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$", description='The block, as "slack-webhook/ops".')


Route = Annotated[MailRoute | WebhookRoute | CommandRoute | PrefectRoute, Field(discriminator="kind")]
ROUTES = (MailRoute, WebhookRoute, CommandRoute, PrefectRoute)
