"""A controller that holds a home for good: who calls finds it, and its end, whichever it is, loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tables import configure, orders, write_policy
from users import as_user, needs_root, shared_folder

from hpcretrain.adapters import controlsocket
from hpcretrain.adapters.inbox import Inbox
from hpcretrain.errors import InputError
from hpcretrain.messages import Message, Verb, identifier
from hpcretrain.records import PriorityClass

NOBODY, UNKNOWN = 65534, 54_321
COMMAND = [sys.executable, "-m", "hpcretrain"]


def run(*arguments: object, code: int = 0) -> str:
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done.stdout if code != 2 else done.stderr


def failed(*arguments: object) -> str:
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 3, done
    return done.stderr


def told(*arguments: object, code: int = 0) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(*arguments, "--json", code=code))
    return answer


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing changes in this table: whatever is trained was asked for."""
    folder = tmp_path_factory.mktemp("controller")
    table = orders(rows=4_000, minutes=32, change_at=None)
    path = configure(folder, table, **write_policy(folder, weight="0.0"))
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text() + '\n[approvals]\nrun = ["urgent"]\napprovers = ["nobody"]\nexpires_h = 24\n')
    return path


@contextmanager
def controller(home: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command or (*COMMAND, "controller", "--home", str(home)),
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "is at work" in line:
                break
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def lives(config: Path, home: Path, *more: object) -> Path:
    run("live", config, "--home", home, "--from", "2024-02-23", *more)
    return home


def test_who_calls_is_answered_by_the_controller_and_sees_no_difference(config: Path, tmp_path: Path) -> None:
    home = lives(config, tmp_path / "home")
    with controller(home) as process:
        stand = told("tick", "--home", home)
        assert stand["serves"].startswith("release-")
        asked = told("request", "--home", home, "--class", "standard", "--reason", "a new sensor")
        assert asked["done"]
        assert (home / "controller.sock").stat().st_mode & 0o077 == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert not (home / "controller.sock").exists()
    again = told("tick", "--home", home)
    assert again["serves"] == stand["serves"]
    assert "a new sensor" in run("explain", asked["subject"], "--home", home)


def test_a_controller_that_is_killed_leaves_nothing_that_its_successor_cannot_go_on_with(
    config: Path, tmp_path: Path
) -> None:
    home = lives(config, tmp_path / "home")
    with controller(home) as process:
        pass_on = subprocess.Popen(
            [*COMMAND, "request", "--home", str(home), "--class", "standard", "--reason", "x", "--key", "k", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        time.sleep(1.0)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        pass_on.communicate(timeout=300)
    with controller(home):
        asked = told("request", "--home", home, "--class", "standard", "--reason", "x", "--key", "k")
    assert asked["done"]
    assert len(told("status", "--home", home)["cycles"]) == 1
    assert told("audit", "verify", "--home", home)["intact"]


def test_a_second_controller_is_refused(config: Path, tmp_path: Path) -> None:
    home = lives(config, tmp_path / "home")
    with controller(home):
        assert "is in use by process" in run("controller", "--home", home, code=2)
        assert told("tick", "--home", home)["serves"], "the first is still there"


def test_it_goes_on_when_the_table_grows(tmp_path: Path) -> None:
    table = orders(rows=4_000, minutes=32, change_at=None)
    now = table["time"].iloc[2_300]
    config = configure(tmp_path / "config", table[table["time"] < now])
    home = tmp_path / "home"
    # A week passes in a second and a half.
    run("live", config, "--home", home, "--from", now.isoformat(), "--speed", 400_000)
    with controller(home):
        table.to_csv(config.parent / "part", index=False)
        (config.parent / "part").replace(config.parent / "table.csv")
        time.sleep(6)
        stand = told("tick", "--home", home)
        state = told("status", "--home", home)
    assert stand["next"] > "2024-03-10"
    assert len(state["quarantined"]) < 3, "rows that came later were seen"


def handed(inbox: Path, verb: Verb, subject: str | None, uid: int) -> str:
    wanted = PriorityClass.URGENT if verb is Verb.REQUEST else None
    message = Message(identifier(), verb, "for the audit", subject, wanted)
    receipt: str = as_user(uid, lambda: Inbox(inbox).hand_in(message))
    return receipt


def settled(inbox: Path, receipt: str) -> dict[str, Any]:
    until = time.monotonic() + 60
    while (answer := Inbox(inbox).answer(receipt)) is None:
        assert time.monotonic() < until
        time.sleep(0.1)
    return answer


@pytest.fixture(scope="module")
def begun(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a first champion."""
    home = lives(config, tmp_path_factory.mktemp("begun") / "home")
    assert told("tick", "--home", home)["serves"]
    return home


@pytest.fixture
def home(begun: Path, tmp_path: Path) -> Path:
    return shutil.copytree(begun, tmp_path / "home")


@pytest.fixture
def shared() -> Iterator[Path]:
    with shared_folder() as folder:
        yield folder


@needs_root
def test_others_hand_in_what_they_say_and_are_known_by_their_seal(config: Path, tmp_path: Path, shared: Path) -> None:
    inbox = shared / "inbox"
    home = lives(config, tmp_path / "home", "--inbox", inbox)
    assert inbox.stat().st_mode & 0o7777 == 0o1733
    with controller(home):
        asked = told("request", "--home", home, "--class", "urgent", "--reason", "an incident")
        assert "awaits an approval" in asked["reason"]
        [ask] = told("approve", "--home", home)
        assert ask["requester"] == "root"
        seen: list[dict[str, Any]] = []
        while not seen:
            seen = json.loads(run("approve", "--inbox", inbox, "--json"))
        assert seen == [ask]
        own = settled(inbox, handed(inbox, Verb.APPROVE, ask["id"], 0))
        assert not own["done"]
        assert "four_eyes" in own["reason"]
        stranger = settled(inbox, handed(inbox, Verb.APPROVE, ask["id"], 1))
        assert not stranger["done"]
        unknown = settled(inbox, handed(inbox, Verb.APPROVE, ask["id"], UNKNOWN))
        assert not unknown["done"]
        assert f"does not know user {UNKNOWN} now" in unknown["reason"]
        said = run("deny", ask["id"], "--inbox", inbox, "--reason", "no", code=1)
        assert "four_eyes" in said
        yes = settled(inbox, handed(inbox, Verb.APPROVE, ask["id"], NOBODY))
        assert yes["done"], yes
        assert "run" in yes["reason"]
    assert os.listdir(inbox) == ["told"]
    assert "approved by nobody" in run("explain", ask["id"], "--home", home)
    assert run("approve", "--inbox", inbox).strip() == "nothing awaits an approval"


def test_an_inbox_that_is_away_stops_neither_commands_nor_the_controller(home: Path, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    settings = json.loads((home / "live.json").read_text())
    (home / "live.json").write_text(json.dumps({**settings, "inbox": str(inbox)}))
    assert told("tick", "--home", home)["serves"]
    with controller(home) as process:
        assert told("tick", "--home", home)["serves"]
        Inbox.make(inbox, home)
        receipt = Inbox(inbox).hand_in(Message(identifier(), Verb.CANCEL, "x", "request-0"))
        assert not settled(inbox, receipt)["done"]
        process.terminate()
        assert process.stderr is not None
        trouble = [line for line in process.stderr if "No such file" in line]
    assert len(trouble) == 1, "told once"


@pytest.mark.parametrize("call", [{}, {"do": "sing"}, {"do": "tick"}, {"do": "tick", "until": "x"}, {"do": "message"}])
def test_a_call_that_is_not_understood_is_answered_and_forgotten(living: Path, call: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        controlsocket.call(living, call)
    assert controlsocket.call(living, {"do": "tick", "until": "release"})


@pytest.fixture(scope="module")
def living(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = shutil.copytree(begun, tmp_path_factory.mktemp("living") / "home")
    with controller(home):
        yield home


@pytest.mark.parametrize("line", [b"\n", b"x\n", b"[]\n", b"[" * 100_000 + b"\n", b"\xff\n"])
def test_what_is_no_call_is_answered(living: Path, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(30)
        end.connect(os.path.relpath(living / controlsocket.NAME))
        end.sendall(line)
        assert json.loads(end.makefile().readline())["kind"] == "input"


def test_a_ledger_that_cannot_be_written_for_a_moment_is_waited_for(home: Path) -> None:
    with controller(home) as process:
        # The anchor cannot be written while a folder has the name of its part.
        in_the_way = home / f".anchor.json.{process.pid}"
        in_the_way.mkdir()
        assert "cannot be written" in failed("cancel", "request-0", "--home", home)
        in_the_way.rmdir()
        assert "request-0" in told("cancel", "request-0", "--home", home, code=1)["reason"]
        assert process.poll() is None
    assert told("audit", "verify", "--home", home)["intact"]


def test_a_ledger_that_is_damaged_ends_the_controller(home: Path) -> None:
    anchor = json.loads((home / "anchor.json").read_text())
    ahead = {**anchor, "decisions": [1_000, "0" * 64]}
    (home / "anchor.json").write_text(json.dumps(ahead, separators=(",", ":")))
    assert "does not agree with" in failed("controller", "--home", home)


BROKEN = """
import sys
from pathlib import Path
from hpcretrain import controller, live
right, calls = live.Live.answer, []
def answer(*arguments):
    calls.append(arguments)
    if len(calls) in (1, 3):
        raise ZeroDivisionError("a defect")
    return right(*arguments)
live.Live.answer = answer
controller.run(Path(sys.argv[1]), lambda line: print(line, file=sys.stderr, flush=True))
"""


def test_a_defect_is_told_to_who_called_and_the_controller_begins_anew(home: Path) -> None:
    with controller(home, sys.executable, "-c", BROKEN, str(home)) as process:
        for _ in range(2):
            assert "ZeroDivisionError('a defect')" in failed("cancel", "request-0", "--home", home)
            until = time.monotonic() + 60
            while not (home / controlsocket.NAME).exists():
                assert time.monotonic() < until
                time.sleep(0.1)
            assert "request-0" in told("cancel", "request-0", "--home", home, code=1)["reason"]
        process.terminate()
        assert process.stderr is not None
        told_of = process.stderr.read()
    assert told_of.count("trying again in 2 s") == 2, "what failed is forgotten once all is well"
    assert "Traceback" in told_of


def test_an_inbox_from_which_others_could_take_away_is_refused(config: Path, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    inbox.chmod(0o777)
    refused = run("live", config, "--home", tmp_path / "home", "--inbox", inbox, code=2)
    assert "lets others remove what is in it" in refused
    assert not (tmp_path / "home").exists()
    assert "there is no inbox" in run("deny", "ask-1", "--inbox", tmp_path / "none", code=2)
