"""What a home that lives knows of itself: its configuration, its cluster, and how its time passes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hpcretrain.errors import InputError

NAME = "live.json"


@dataclass(frozen=True)
class Pace:
    """How a table of the past passes as if live.

    Attributes:
        from_time: The time, in the table's past, that it was when it began.
        began: When that was.
        speed: Seconds of the table that pass in one second.
    """

    from_time: datetime
    began: datetime
    speed: float

    def at(self, moment: datetime) -> datetime:
        """What time it is in the table's past at a moment."""
        return self.from_time + self.speed * (moment - self.began)


@dataclass(frozen=True)
class LiveSettings:
    """What every run over the home needs to know.

    Attributes:
        config: The configuration.
        cluster: The cluster profile; None to train on this machine.
        arrival_s: Seconds after its time within which a row arrives in the table.
        pace: How the past passes; None where the present does.
        inbox: Where others than the owner of the home hand in what they ask; None where they cannot.
        board: Where homes that share limits tell each other how they stand; None for a home that shares with none.
    """

    config: Path
    cluster: Path | None
    arrival_s: float
    pace: Pace | None
    inbox: Path | None
    board: Path | None = None

    def now(self) -> datetime:
        """Until when rows are in the table."""
        moment = datetime.now(UTC)
        return (self.pace.at(moment) if self.pace else moment) - timedelta(seconds=self.arrival_s)

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1, default=str)

    @classmethod
    def read(cls, home: Path) -> LiveSettings:
        """Those of a home.

        Raises:
            InputError: There are none, or they cannot be read.
        """
        path = home / NAME
        try:
            return _understood(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise InputError(f"{home} is no home that lives; `hpcretrain live CONFIG.toml` makes one") from None
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise InputError(f"{path} cannot be read: {error!r}; restore it, or make a new home") from error


def _understood(content: Mapping[str, object]) -> LiveSettings:
    told = content["pace"]
    assert told is None or isinstance(told, dict)
    pace = told and Pace(
        datetime.fromisoformat(told["from_time"]), datetime.fromisoformat(told["began"]), float(told["speed"])
    )
    cluster = content["cluster"]
    return LiveSettings(
        config=Path(str(content["config"])),
        cluster=Path(str(cluster)) if cluster else None,
        arrival_s=float(str(content["arrival_s"])),
        pace=pace or None,
        inbox=Path(str(content["inbox"])) if content["inbox"] else None,
        board=Path(str(content["board"])) if content.get("board") else None,
    )
