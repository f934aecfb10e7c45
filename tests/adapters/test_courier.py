"""How notices reach people: by mail, webhook and program, once, and again after a failure."""

from __future__ import annotations

import json
import os
import smtplib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from letterbox import hook_server, mail_server

from hpcretrain.adapters.courier import MOST_TRIES, Courier, _Known, deliver, said, undelivered
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.notify_webhook import sign
from hpcretrain.adapters.program import ProgramError
from hpcretrain.adapters.secretfile import SecretError
from hpcretrain.config.routes import CommandRoute, MailRoute, WebhookRoute
from hpcretrain.report.notices import Notice, Told, special

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def notice(model: str = "orders") -> Notice:
    return special(Told.LEDGER_DAMAGED, "/the home", model, "row 7 was altered", NOW)


def kept(folder: Path, name: str, text: str, mode: int = 0o600) -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return name


def test_a_mail_says_what_happened_and_what_to_do_over_a_line_of_its_own(tmp_path: Path) -> None:
    with mail_server(tmp_path, tls=True) as mail:
        route = MailRoute(
            kind="mail", name="oncall", to=("a@x.org", "b@x.org"), sender="hpc@x.org", host="127.0.0.1", port=mail.port,
            ca_file=str(mail.ca_file), credentials=kept(tmp_path, "login", "hpc\nsecret\n"),
        )  # fmt: skip
        for _ in range(2):
            deliver(route, notice("häuser"), tmp_path)
        first, second = mail.taken
        assert first["Subject"] == "[hpcretrain] häuser: the ledger is damaged"
        assert first["To"] == "a@x.org, b@x.org"
        text = first.get_content()  # type: ignore[attr-defined]
        assert "row 7 was altered" in text
        assert "hpcretrain audit verify --home '/the home'" in text
        assert first["Message-ID"] == second["Message-ID"], "what is sent twice is shown once"
        assert mail.secured == [True, True]
        assert mail.logins == ["hpc:secret"] * 2
        kept(tmp_path, "login", "hpc\nwrong\n")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            deliver(route, notice(), tmp_path)


def test_a_mail_is_not_sent_openly_where_that_was_not_asked_for(tmp_path: Path) -> None:
    with mail_server(tmp_path, tls=False) as mail:
        route = MailRoute(
            kind="mail", name="oncall", to=("a@x.org",), sender="h@x.org", host="127.0.0.1", port=mail.port
        )
        with pytest.raises(smtplib.SMTPException, match="STARTTLS"):
            deliver(route, notice(), tmp_path)
        assert not mail.taken
        openly = route.model_copy(update={"security": "none"})
        deliver(openly, notice(), tmp_path)
        assert len(mail.taken) == 1
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            deliver(openly.model_copy(update={"to": ("a@x.org", "nobody@x.org")}), notice(), tmp_path)
    with pytest.raises(ValueError, match="open line"):
        MailRoute(kind="mail", name="x", to=("a",), sender="s", host="h", security="none", credentials="c")


def test_a_webhook_is_signed_with_its_time_and_says_all(tmp_path: Path) -> None:
    with hook_server() as hook:
        route = WebhookRoute(
            kind="webhook", name="chat", url=hook.url, secret=kept(tmp_path, "key", "k3y\n"),
            authorization=kept(tmp_path, "bearer", "Bearer t0ken"),
        )  # fmt: skip
        deliver(route, notice(), tmp_path)
        [(headers, body)] = hook.taken
        assert headers["X-Hpcretrain-Signature"] == sign("k3y", headers["X-Hpcretrain-Time"], body)
        assert headers["Authorization"] == "Bearer t0ken"
        assert headers["X-Hpcretrain-Id"] == notice().id
        assert json.loads(body) == notice().content
        for status in (302, 404, 500):
            hook.status = status
            with pytest.raises(OSError, match=f"the server says {status}"):
                deliver(route, notice(), tmp_path)
        assert len(hook.taken) == 4, "nothing is carried on to another server"


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_secret_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    route = WebhookRoute(kind="webhook", name="x", url="http://127.0.0.1:9", secret=kept(tmp_path, "key", "k", mode))
    with pytest.raises(SecretError, match="chmod 600"):
        deliver(route, notice(), tmp_path)
    with pytest.raises(SecretError, match="cannot be read: No such file"):
        deliver(route.model_copy(update={"secret": "none"}), notice(), tmp_path)


def test_a_program_is_told_on_standard_input_and_never_by_a_shell(tmp_path: Path) -> None:
    program = tmp_path / "page"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$0.arguments"\ncat > "$0.told"\n')
    program.chmod(0o755)
    deliver(CommandRoute(kind="command", name="x", command=(str(program), "$(id)", "a b")), notice(), tmp_path)
    assert (tmp_path / "page.arguments").read_text() == "$(id)\na b\n"
    assert json.loads((tmp_path / "page.told").read_text())["title"] == "orders: the ledger is damaged"
    program.write_text("#!/bin/sh\nexit 4\n")
    with pytest.raises(ProgramError, match="ended with 4"):
        deliver(CommandRoute(kind="command", name="x", command=(str(program),)), notice(), tmp_path)


def writes(folder: Path, code: int = 0) -> CommandRoute:
    """A program that keeps count, and ends with a code."""
    return CommandRoute(kind="command", name="pager", command=("/bin/sh", "-c", f"echo >> {folder}/sent; exit {code}"))


def sent(folder: Path) -> int:
    path = folder / "sent"
    return len(path.read_text()) if path.exists() else 0


def run(ledger: FileLedger, folder: Path, route: Any) -> None:
    courier = Courier(ledger, [route], folder)
    courier.send([notice()])
    courier.finish(60)


def test_each_notice_is_sent_once_by_each_route_that_takes_it(tmp_path: Path) -> None:
    ledger = FileLedger(tmp_path / "ledger.jsonl")
    for _ in range(3):
        run(ledger, tmp_path, writes(tmp_path))
    assert sent(tmp_path) == 1
    assert [each["event"] for each in ledger.notes()] == ["notice_intended", "notice_sent"]
    run(ledger, tmp_path, writes(tmp_path).model_copy(update={"name": "low", "tiers": (1,)}))
    run(ledger, tmp_path, writes(tmp_path).model_copy(update={"name": "other", "events": ("blind",)}))
    assert sent(tmp_path) == 1
    run(ledger, tmp_path, writes(tmp_path).model_copy(update={"name": "second", "tiers": (3,)}))
    assert sent(tmp_path) == 2


def test_what_was_cut_short_is_sent_once_more_and_then_not_again(tmp_path: Path) -> None:
    ledger = FileLedger(tmp_path / "ledger.jsonl")
    ledger.note("notice_intended", notice().id, route="pager")
    child = os.fork()
    if child == 0:
        # Killed after it was sent, before that was noted.
        courier = Courier(FileLedger(tmp_path / "ledger.jsonl"), [writes(tmp_path)], tmp_path)
        courier.send([notice()])
        while not sent(tmp_path):
            pass
        os._exit(9)
    os.waitpid(child, 0)
    assert sent(tmp_path) == 1
    for _ in range(2):
        run(FileLedger(tmp_path / "ledger.jsonl"), tmp_path, writes(tmp_path))
    assert sent(tmp_path) == 1


def test_a_failure_is_noted_with_its_reason_and_tried_again_after_a_pause(tmp_path: Path) -> None:
    ledger = FileLedger(tmp_path / "ledger.jsonl")
    for _ in range(3):
        run(ledger, tmp_path, writes(tmp_path, code=5))
    assert sent(tmp_path) == 1, "the pause has not passed"
    [told] = undelivered(ledger.notes(), datetime.now(UTC))
    assert (told["route"], told["tries"], told["given_up"]) == ("pager", 1, False)
    assert "ended with 5" in told["reason"]
    assert not undelivered(ledger.notes(), datetime.now(UTC) + timedelta(days=8))
    ledger.note("notice_sent", notice().id, route="pager")
    assert not undelivered(ledger.notes(), datetime.now(UTC))


@pytest.mark.parametrize(
    ("known", "after", "due"),
    [
        (_Known(), 0 * MINUTE, True),
        (_Known(intended=1, sent=True), MINUTE * 9999, False),
        (_Known(intended=1), 0 * MINUTE, True),
        (_Known(intended=2), MINUTE * 9999, False),
        (_Known(intended=1, failed=1, failed_at=NOW), 0.9 * MINUTE, False),
        (_Known(intended=1, failed=1, failed_at=NOW), 1 * MINUTE, True),
        (_Known(intended=3, failed=3, failed_at=NOW), 3.9 * MINUTE, False),
        (_Known(intended=3, failed=3, failed_at=NOW), 4 * MINUTE, True),
        (_Known(intended=5, failed=3, failed_at=NOW), 9999 * MINUTE, False),
        (_Known(intended=MOST_TRIES, failed=MOST_TRIES, failed_at=NOW), 9999 * MINUTE, False),
    ],
)
def test_when_a_notice_is_due(known: _Known, after: timedelta, due: bool) -> None:
    assert known.due(NOW + after) is due


def test_an_error_is_told_in_one_line() -> None:
    assert said(OSError("a\n b")) == "a b"
    assert said(TimeoutError()) == "TimeoutError"
