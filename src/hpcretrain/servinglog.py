"""A logger beside serving: spools what a model predicted, cheaply, and never stands in the way of serving.

It needs nothing but Python, so that a serving process can import it, or copy this file. `log` puts a prediction into a
queue of bounded length; a thread of its own writes it as a line of JSON. What cannot be written is dropped and counted,
and the count is written as soon as something can be: it is evidence too.

A segment is a file `….jsonl.part` while it is written, and is renamed to `….jsonl` when it is full or old enough. Lines
are written whole: a process that dies loses at most those of the last `flush_s` seconds.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import re
import secrets
import socket
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

PART = ".part"
MASKED = "masked"
"""What stands for a value of a masked column."""
LONGEST_LINE = 1_000_000
"""Characters; a longer line is dropped."""
AGAIN_S = 1.0
"""How long after a failure it is tried again."""
_AT_ONCE = 1000
_MB = 1_000_000

_Entry = tuple[float, str, Mapping[str, Any], Any, float | None, str | None, str]


class ServingLog:
    """Spools predictions into segments in a folder. Threads may share one; it goes on in a forked process by itself.

    Args:
        folder: Where segments go, on a local disk; made when it is not there.
        model_version: The version that serves, unless `log` names another one.
        drop: Inputs that are left out.
        mask: Inputs whose values are replaced by "masked"; whether there was one stays visible.
        segment_mb: How long a segment grows.
        segment_s: How old a segment grows.
        flush_s: How long a prediction may wait before it is written.
        most_queued: How many predictions may wait; more are dropped and counted.
        least_free_mb: Free space of the file system below which nothing is written.
    """

    def __init__(
        self,
        folder: Path | str,
        model_version: str = "",
        *,
        drop: Iterable[str] = (),
        mask: Iterable[str] = (),
        segment_mb: float = 64.0,
        segment_s: float = 300.0,
        flush_s: float = 1.0,
        most_queued: int = 10_000,
        least_free_mb: float = 1000.0,
    ) -> None:
        if isinstance(drop, str) or isinstance(mask, str):
            raise TypeError('drop and mask name columns: ["name"], not "name"')
        self._folder = Path(folder)
        self._version = model_version
        self._dropped_columns, self._masked_columns = frozenset(drop), frozenset(mask)
        self._segment_bytes, self._segment_s = segment_mb * _MB, segment_s
        self._flush_s, self._most_queued, self._half = flush_s, most_queued, most_queued // 2
        self._least_free = least_free_mb * _MB
        self._begin()
        _every.add(self)

    def log(
        self,
        prediction_id: str,
        inputs: Mapping[str, Any],
        score: Any,
        *,
        latency_s: float | None = None,
        error: str | None = None,
        model_version: str | None = None,
    ) -> None:
        """Spool one prediction. Never raises and never waits.

        Args:
            prediction_id: By which a label is joined later.
            inputs: Value by column; copied, so the caller may change it afterwards.
            score: What was predicted; None where there was an error.
            latency_s: How long it took.
            error: What went wrong, in a word or two.
            model_version: The version that predicted. Default: that of the log.
        """
        try:
            queue = self._queue
            waiting = queue.qsize()
            if self._closed or waiting >= self._most_queued:
                self._drop("closed" if self._closed else "queue_full")
                return
            version = self._version if model_version is None else model_version
            queue.put((time.time(), prediction_id, {**inputs}, score, latency_s, error, version))
            if self._thread is None:
                self._start()
            if waiting >= self._half and not self._wake.is_set():
                self._wake.set()
        except Exception:
            self._drop("unreadable")

    @property
    def dropped(self) -> dict[str, int]:
        """How many predictions this process dropped, by reason."""
        with self._lock:
            return dict(self._lost)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits and close the segment; waits no longer than this, and what comes later is dropped."""
        self._closed = True
        thread = self._thread
        if thread is not None:
            self._wake.set()
            thread.join(timeout_s)

    def _begin(self) -> None:
        """As it is in a process that has logged nothing."""
        self._queue: SimpleQueue[_Entry] = SimpleQueue()
        self._lock = threading.Lock()
        self._lost: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._segment: _Segment | None = None
        self._retry_at = 0.0
        self._closed = False

    def _forked(self) -> None:
        """In a child: what waits is the parent's to write, and so is its segment."""
        if self._segment is not None:
            with contextlib.suppress(OSError):
                os.close(self._segment.descriptor)
        self._begin()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="serving-log", daemon=True)
                # Where no thread can be had, what waits goes on waiting for one, until the queue is full.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _drop(self, why: str, count: int = 1) -> None:
        with self._lock:
            self._lost[why] += count

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(self._flush_s)
            self._wake.clear()
            self._flush_whatever_comes()
        self._flush_whatever_comes()
        self._end_segment()

    def _flush_whatever_comes(self) -> None:
        try:
            self._flush()
        except Exception:
            # Nothing is known to end here; if something does, serving goes on, and so does this thread.
            self._drop("error")

    def _flush(self) -> None:
        """Write all that waits."""
        while time.monotonic() >= self._retry_at or self._closed:
            lines = self._lines()
            with self._lock:
                news = self._lost - self._told
            if not lines and not news:
                break
            count = len(lines)
            if news:
                lines.append(json.dumps({"at": _iso(time.time()), "dropped": dict(news)}))
            if not self._write("".join(line + "\n" for line in lines).encode(), count):
                return
            with self._lock:
                self._told += news
        segment = self._segment
        if segment is not None and time.monotonic() - segment.begun >= self._segment_s:
            self._end_segment()

    def _lines(self) -> list[str]:
        lines = []
        for _ in range(_AT_ONCE):
            try:
                entry = self._queue.get_nowait()
            except Empty:
                break
            try:
                line = self._line(entry)
            except Exception:
                self._drop("unreadable")
                continue
            if len(line) > LONGEST_LINE:
                self._drop("too_long")
            else:
                lines.append(line)
        return lines

    def _line(self, entry: _Entry) -> str:
        at, identifier, inputs, score, latency, error, version = entry
        kept = {
            str(name): MASKED if name in self._masked_columns and value is not None else value
            for name, value in inputs.items()
            if name not in self._dropped_columns
        }
        content: dict[str, Any] = {"at": _iso(at), "id": str(identifier), "model_version": str(version), "score": score}
        if latency is not None:
            content["latency_ms"] = round(float(latency) * 1000, 3)
        if error is not None:
            content["error"] = str(error)[:200]
        return json.dumps({**content, "inputs": kept}, default=_plain)

    def _write(self, data: bytes, count: int) -> bool:
        """Append lines of so many predictions; when that fails they are dropped, and it is tried again later."""
        try:
            segment = self._segment or self._new_segment()
            if not os.fstat(segment.descriptor).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "the segment was removed")
            space = os.fstatvfs(segment.descriptor)
            if space.f_bavail * space.f_frsize - len(data) < self._least_free:
                raise OSError(errno.ENOSPC, "too little space is left")
            segment.append(data, count)
        except OSError as error:
            self._drop(_word(error), count)
            self._retry_at = time.monotonic() + AGAIN_S
            if error.errno != errno.ENOSPC:
                self._end_segment()
            return False
        if segment.size >= self._segment_bytes:
            self._end_segment()
        return True

    def _new_segment(self) -> _Segment:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:40]
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        # The random end tells apart processes in containers that share a folder, a host name and a number.
        path = self._folder / f"{stamp}-{host}-{os.getpid()}-{secrets.token_hex(4)}.jsonl{PART}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._segment = _Segment(path, os.open(path, flags, 0o600))
        return self._segment

    def _end_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            try:
                segment.close()
            except OSError as error:
                # One that may not be renamed is still there, and is read as it is.
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    self._drop(_word(error), segment.count)


class _Segment:
    """An open segment."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self.size = self.count = 0
        self.begun = time.monotonic()

    def append(self, data: bytes, count: int) -> None:
        """Write whole lines, or none."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        except OSError:
            os.ftruncate(self.descriptor, self.size)
            raise
        self.size += len(data)
        self.count += count

    def close(self) -> None:
        try:
            os.fsync(self.descriptor)
            os.rename(self.path, self.path.with_suffix(""))
        finally:
            os.close(self.descriptor)


def _word(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "error")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    """What JSON does not know: a number of numpy, a time; anything else as text."""
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "size", 1) == 1:
        return item()
    tolist = getattr(value, "tolist", None)
    if tolist is not None:
        return tolist()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


_every: weakref.WeakSet[ServingLog] = weakref.WeakSet()


def _in_child() -> None:
    for each in list(_every):
        each._forked()


def _at_exit() -> None:
    for each in list(_every):
        each.close()


os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)
