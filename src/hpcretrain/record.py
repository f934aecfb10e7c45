"""What every record is: frozen, of an aware UTC time, named by its content.

Floats are rounded when a record is made: what decides is exactly what is written down.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import ClassVar

from hpcretrain.canonical import Plain, plain, sha256, written


@dataclass(frozen=True, kw_only=True)
class Record(Plain):
    """What every record has: the model, the (virtual) time, and the identifiers of the records that it answers."""

    kind: ClassVar[str]
    later: ClassVar[tuple[str, ...]] = ()
    """Fields that came with a later version: where they hold their default they are not written, so that what was
    written before keeps its identifier."""

    model: str
    at: datetime
    answers: tuple[str, ...] = ()

    @cached_property
    def body(self) -> str:
        """The record as canonical JSON."""
        content = {"kind": self.kind, **plain(self)}
        if self.later:
            for field in dataclasses.fields(self):
                if field.name in self.later and getattr(self, field.name) == field.default:
                    del content[field.name]
        return written(content)

    @cached_property
    def id(self) -> str:
        """The kind and the first 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return f"{self.kind}-{sha256(self.body)[:16]}"
