"""Decides what became of attempts, by all witnesses, and writes down how they ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta

from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_attempts import Attempt, ending
from hpcretrain.adapters.slurm_output import History, Key, QueueLine
from hpcretrain.adapters.slurm_spool import SlurmSpool
from hpcretrain.errors import SlurmError
from hpcretrain.policy.fate import PATIENCE_S, after, fate, state_of
from hpcretrain.ports import Ledger
from hpcretrain.witnesses import ALIVE, ENDED, Accounted, Fate, Queued, Witnesses

# A clock of the cluster may be behind the controller's.
_CLOCKS_DIFFER = timedelta(minutes=10)


class Judge:
    """Judges attempts.

    Args:
        slurm: The door.
        spool: Where attempts write.
        ledger: Gets a note on each end.
        clock: Seconds, ever increasing.
        adopt: Called with attempts that were taken, as it turns out, and Slurm's number for them.
        accounting: Does the site have it?
    """

    def __init__(
        self,
        slurm: Slurm,
        spool: SlurmSpool,
        ledger: Ledger,
        clock: Callable[[], float],
        adopt: Callable[[Sequence[Attempt], int], None],
        *,
        accounting: bool,
    ) -> None:
        self._slurm = slurm
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._adopt = adopt
        self._has_accounting = accounting
        self.news_at = clock()
        """When an attempt last was requeued, or ended otherwise than by its result."""
        self.trouble = ""
        """Why accounting did not answer; empty when it did."""

    def read(self, each: Attempt) -> None:
        """Learn what the newest life of an attempt wrote."""
        each.read(self._spool.marker(each))

    def by_its_words(self, each: Attempt) -> bool:
        """Judge an attempt by what it wrote alone; whether it has ended, by its result and with all that proves it."""
        self.read(each)
        if each.marker.result and each.submission is not None and not self._lacks_proof(each):
            self.end([(each, Fate.FINISHED, "its result is in the spool")])
        return not each.open

    def by_all(self, attempts: Sequence[Attempt], lines: Mapping[Key, QueueLine]) -> None:
        """Judge attempts by the queue's answer of this moment, by accounting where that is not enough, and by them."""
        changed: list[tuple[Attempt, Queued | None]] = []
        for each in attempts:
            queued = _seen(each, lines)
            if queued is not None:
                each.heard_at = self._clock()
            if not each.unchanged(queued):
                changed.append((each, queued))
                # One that is requeued may just have been done.
                if queued is None or queued.restarts > each.restarts or not alive(queued):
                    self.read(each)
        histories = self._accounting([each for each, queued in changed if _asks_accounting(each, queued)])
        ended = []
        for each, queued in changed:
            history = (histories or {}).get((each.name, each.place))
            lives = history.lives if history else ()
            if history and each.submission is None:
                self._adopt([each], history.key.submission)
            if each.learn(queued, lives):
                self.news_at = self._clock()
            become, why = self._fate(each, queued, lives, answered=histories is not None)
            if become is Fate.FINISHED and self._lacks_proof(each) and self._over_s(each) < PATIENCE_S:
                each.why = "it has its result; Slurm has not told yet where all its lives ran"
            elif become in ENDED:
                ended.append((each, become, why))
            else:
                each.became(become, why)
        self.end(ended)

    def end(self, ended: Sequence[tuple[Attempt, Fate, str]]) -> None:
        """Write down how attempts ended."""
        for each, become, why in ended:
            self._lacks_proof(each)
            each.fate, each.why = become, why
            each.progress = become is not Fate.UNTAKEN and self._spool.segments(each.job) > each.segments
            if become is not Fate.FINISHED:
                self.news_at = self._clock()
        if ended:
            self._ledger.note_each("job_ended", {each.job: ending(each) for each, _, _ in ended})

    def _accounting(self, wanted: Collection[Attempt]) -> dict[tuple[str, int | None], History] | None:
        """What accounting knows of these, by name and place; None where it does not answer."""
        self.trouble = ""
        if not self._has_accounting or not wanted:
            return None
        since = min(each.intended_at for each in wanted) - _CLOCKS_DIFFER
        try:
            told = self._slurm.accounting({each.name for each in wanted}, since)
            return {(each.name, each.key.place): each for each in told}
        except SlurmError as error:
            self.trouble = str(error)
            return None

    def _fate(
        self, each: Attempt, queued: Queued | None, lives: tuple[Accounted, ...], *, answered: bool
    ) -> tuple[Fate, str]:
        if queued is None and not lives:
            queued = each.end_told
        told, why = fate(
            Witnesses(
                queued=queued,
                queue_answered=True,
                lives=lives,
                accounting_answered=answered,
                has_accounting=self._has_accounting,
                taken=each.submission is not None,
                marker=each.marker,
                silent_s=self._silent_s(each),
                ended_s=self._ended_s(each, queued, lives),
            )
        )
        return after(each.fate, told), why

    def _ended_s(self, each: Attempt, queued: Queued | None, lives: tuple[Accounted, ...]) -> float:
        """How long ago Slurm was first heard to say that an attempt ended; 0 if it does not say so."""
        state = queued.state if queued else lives[-1].state if lives else ""
        if state_of(state) not in ENDED:
            each.ended_at = each.end_told = None
            return 0.0
        if each.ended_at is None:
            each.ended_at, each.end_told = self._clock(), queued
        return self._clock() - each.ended_at

    def _silent_s(self, each: Attempt) -> float:
        return self._clock() - each.heard_at

    def _over_s(self, each: Attempt) -> float:
        """How long ago Slurm was first heard to say that an attempt ended, or last heard to know it at all."""
        return self._silent_s(each) if each.ended_at is None else self._clock() - each.ended_at

    def _lacks_proof(self, each: Attempt) -> bool:
        for life in each.unproven:
            if nodes := self._spool.nodes_told(each, life):
                each.ran_on[life] = nodes
        return bool(each.unproven)


def alive(queued: Queued) -> bool:
    """Whether the queue says that a job may still be at work, or come to be."""
    return fate(Witnesses(queued=queued))[0] in ALIVE


def _asks_accounting(each: Attempt, queued: Queued | None) -> bool:
    """Whether the queue is not enough: it forgot the job, tells an end without saying why, or only the last life."""
    if queued is None:
        return each.submission is not None or each.marker.begun
    if each.marker.result:
        return any(life not in each.ran_on for life in range(queued.restarts))
    return state_of(queued.state) in ENDED


def _seen(each: Attempt, lines: Mapping[Key, QueueLine]) -> Queued | None:
    """What the queue says; tasks of an array that ended before they started are one line without a place."""
    if each.key is None:
        return None
    line = lines.get(each.key) or lines.get(Key(each.key.submission))
    return line.seen if line else None
