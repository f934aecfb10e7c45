"""Acts upon what the queue shows: adopts what was taken unheard, cancels what is too much, starts what may start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_attempts import Attempt
from hpcretrain.adapters.slurm_judge import alive
from hpcretrain.adapters.slurm_output import Key, QueueLine
from hpcretrain.ports import Ledger


class Tender:
    """Tends the jobs of one home.

    Args:
        slurm: The door.
        home: The name of the home.
        ledger: Gets a note on each duplicate.
        adopt: Called with attempts that were taken, as it turns out, and Slurm's number for them.
        attempts: All attempts by job, oldest first, as the caller keeps them.
    """

    def __init__(
        self,
        slurm: Slurm,
        home: str,
        ledger: Ledger,
        adopt: Callable[[Sequence[Attempt], int], None],
        attempts: Mapping[str, Sequence[Attempt]],
    ) -> None:
        self._slurm = slurm
        self._home = home
        self._ledger = ledger
        self._adopt = adopt
        self._attempts = attempts
        self._duplicates = {str(note["slurm_job"]) for note in ledger.notes("job_duplicate")}
        self._hurried: set[tuple[Key, int]] = set()

    def recognize(self, lines: Iterable[QueueLine]) -> None:
        """Adopt what was taken without our knowing, and cancel what is not, or no longer, the attempt that counts.

        Raises:
            SlurmError: Slurm does not answer; what was to be canceled is so with the next call.
        """
        # Tasks of an array that ended before they started are one line without a place.
        bare = {Key(each.submission) for tried in self._attempts.values() for each in tried if each.submission}
        current = bare | {tried[-1].key for tried in self._attempts.values()}
        strange = [line for line in lines if line.key not in current]
        if not strange:
            return
        known = {(each.name, each.place): each for attempts in self._attempts.values() for each in attempts}
        superfluous: dict[Key, str] = {}
        for line in sorted(strange, key=lambda line: line.key.submission):
            each = known.get((line.name, line.key.place))
            if each is not None and self._awaits_adoption(each):
                mates = [mate for mate in known.values() if mate.name == each.name and self._awaits_adoption(mate)]
                self._adopt(mates, line.key.submission)
            lives = alive(line.seen)
            if each is None or each.key != line.key or (lives and not self._is_newest(each)):
                self._note_duplicate(line, each)
                if lives:
                    superfluous[line.key] = line.name
        self._slurm.cancel(superfluous)

    def tend(self, lines: Mapping[Key, QueueLine]) -> None:
        """Start what was requeued, and need not wait; cancel what was requeued when it was done already.

        Raises:
            SlurmError: Slurm does not answer; the next call does what is left.
        """
        waiting = {key: line.seen for key, line in lines.items() if line.seen.restarts and line.seen.state == "PENDING"}
        if not waiting:
            return
        done = {last.key for attempts in self._attempts.values() if (last := attempts[-1]).marker.result}
        self._slurm.cancel({key: lines[key].name for key in waiting.keys() & done})
        # Slurm lets a requeued job wait until its old credentials have expired; its owner need not.
        hurried = {(key, seen.restarts) for key, seen in waiting.items() if seen.reason == "BeginTime"} - self._hurried
        self._slurm.start_now({key for key, _ in hurried if key not in done})
        self._hurried |= hurried

    def _awaits_adoption(self, each: Attempt) -> bool:
        return each.submission is None and each.open and self._is_newest(each)

    def _is_newest(self, each: Attempt) -> bool:
        return each is self._attempts[each.job][-1]

    def _note_duplicate(self, line: QueueLine, each: Attempt | None) -> None:
        if str(line.key) not in self._duplicates:
            self._duplicates.add(str(line.key))
            job, number = (each.job, each.number) if each else (self._home, None)
            self._ledger.note("job_duplicate", job, slurm_job=str(line.key), name=line.name, attempt=number)
