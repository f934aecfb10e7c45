"""People told by a notification block of a real Prefect server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from letterbox import hook_server
from prefect_server import surroundings

from hpcretrain.adapters.prefect_server import PrefectServer

BLOCKS = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
words = {"title": "{{subject}}", "text": "{{body}}"}
CustomWebhookNotificationBlock(name="ops", url=sys.argv[1], json_data=words).save("ops")
Secret(value="x").save("mute")
"""
TELL = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from hpcretrain.adapters.courier import Courier
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.config.routes import PrefectRoute
from hpcretrain.report.notices import Told, special

blocks = ("custom-webhook/ops", "custom-webhook/nobody", "secret/mute")
routes = [PrefectRoute(kind="prefect", name=block.split("/")[1], block=block) for block in blocks]
ledger = FileLedger(Path(sys.argv[1]))
courier = Courier(ledger, routes, Path())
courier.send([special(Told.LEDGER_DAMAGED, "a home", "orders", "row 7 was altered", datetime(2026, 1, 1, tzinfo=UTC))])
courier.finish(60)
for event in ("notice_sent", "notice_failed"):
    for note in ledger.notes(event):
        print(event, note["route"], note.get("reason", ""))
"""


def told(program: str, argument: object, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", program, str(argument)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_notice_goes_by_a_notification_block(prefect_server: PrefectServer, tmp_path: Path) -> None:
    environment = surroundings(prefect_server)
    with hook_server() as hook:
        told(BLOCKS, hook.url, environment)
        said = told(TELL, tmp_path / "ledger.jsonl", environment)
        [(_, body)] = hook.taken
        found = json.loads(body)
        assert found["title"] == "orders: the ledger is damaged"
        assert "row 7 was altered" in found["text"]
        assert "What to do: " in found["text"]
    lines = sorted(said.splitlines())
    assert [line.split()[:2] for line in lines] == [
        ["notice_failed", "mute"], ["notice_failed", "nobody"], ["notice_sent", "ops"]
    ]  # fmt: skip
    assert "secret/mute tells nobody" in lines[0]
    assert "nobody" in lines[1]


def test_without_a_server_nothing_is_started_and_what_to_do_is_said(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    bare = {name: value for name, value in surroundings(prefect_server).items() if not name.startswith("PREFECT_")}
    said = told(TELL, tmp_path / "ledger.jsonl", {**bare, "PREFECT_HOME": str(tmp_path / "prefect")})
    assert said.count("no Prefect server is configured") == 3
