"""The types of a policy file. The reference of the policy in the documents is generated from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from hpcretrain.policy.types.admission import Admission as Admission
from hpcretrain.policy.types.admission import ClassAdmission as ClassAdmission
from hpcretrain.policy.types.admission import Headroom as Headroom
from hpcretrain.policy.types.admission import HoursBudget as HoursBudget
from hpcretrain.policy.types.admission import RiskBudget as RiskBudget
from hpcretrain.policy.types.classes import Classes as Classes
from hpcretrain.policy.types.classes import ClassLimits as ClassLimits
from hpcretrain.policy.types.classes import ClassRule as ClassRule
from hpcretrain.policy.types.classes import FurtherClass as FurtherClass
from hpcretrain.policy.types.governance import Approvals as Approvals
from hpcretrain.policy.types.governance import BreakGlass as BreakGlass
from hpcretrain.policy.types.governance import Deadlines as Deadlines
from hpcretrain.policy.types.governance import Needed as Needed
from hpcretrain.policy.types.governance import Role as Role
from hpcretrain.policy.types.governance import short_of_people
from hpcretrain.policy.types.scope import Rung as Rung
from hpcretrain.policy.types.scope import WindowName as WindowName
from hpcretrain.policy.types.score import Business as Business
from hpcretrain.policy.types.score import Cure as Cure
from hpcretrain.policy.types.score import FamilyRule as FamilyRule
from hpcretrain.policy.types.score import Score as Score
from hpcretrain.policy.types.search import Dimension as Dimension
from hpcretrain.policy.types.search import Trials as Trials
from hpcretrain.policy.types.search import Value as Value
from hpcretrain.policy.types.tables import Alpha, Hours, NotNegative, Positive, Rules, Share
from hpcretrain.policy.types.windows import Blackout as Blackout
from hpcretrain.policy.types.windows import Windows as Windows
from hpcretrain.policy.types.worth import OperationalRisk as OperationalRisk
from hpcretrain.policy.types.worth import Worth as Worth


class DataGate(Rules):
    """What a batch of data must be like. Limits are the worst of the reference and accepted batches, plus a slack."""

    volume_factor: Annotated[float, Field(gt=1)] = Field(
        description="A batch may have this many times fewer or more rows than any accepted batch."
    )
    missing_slack: Share = Field(description="Added to the highest share of missing cells.")
    new_category_slack: Share = Field(description="Added to the highest share of categories unknown to the reference.")
    duplicate_slack: Share = Field(description="Added to the highest share of duplicated rows.")
    range_slack: NotNegative = Field(description="Spans of the reference beyond its range that are still plausible.")
    out_of_range_slack: Share = Field(description="Added to the highest share of cells outside the plausible range.")
    structural_psi: Positive = Field(description="PSI (lower bound) from which a feature has changed structurally.")
    structural_share: Share = Field(description="Share of structurally changed features from which a person is asked.")


Part = Annotated[float, Field(gt=0, lt=1)]


class Training(Rules):
    """What candidates are trained on, and how much of it."""

    windows: Annotated[tuple[WindowName, ...], Field(min_length=1)] = Field(
        description="Ways to draw training rows; one pilot each competes."
    )
    recent_share: Part = Field(description='Newest part of the time since the first row that "recent" draws from.')
    half_life_share: Part = Field(
        description='Part of the time since the first row after which a row counts half in "decayed".'
    )
    pilot_rows: int = Field(ge=200, description="Most rows that a pilot reads.")
    full_rows: int = Field(ge=200, description="Most rows that the full fit of a winner reads.")
    average_with: Annotated[int, Field(ge=0, le=5)] = Field(
        description="Each pilot also competes averaged with the fits of this many recent releases."
    )
    warm_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Warm start: fits go on from the newest fit of what serves, by this share of a training's passes. "
        "Left out: each begins from nothing.",
    )
    trials: Trials | None = Field(
        default=None,
        description="Tuned search: so many pilots more compete, with parameters drawn from `model.search`; what wins "
        "stays until a search finds better. Left out: none.",
    )
    memory_rows: int = Field(
        ge=1, description="What earlier selections saw counts half after so many rows of later ones."
    )
    rungs: tuple[Rung, ...] | None = Field(
        default=None,
        min_length=1,
        description="The scope ladder, from the deepest rung to the lightest. Left out: what stands here is all.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(set(self.windows)) < len(self.windows):
            raise ValueError("windows: one is named twice")
        if self.full_rows < self.pilot_rows:
            raise ValueError("full_rows must be at least pilot_rows: a pilot is the cheaper one")
        if self.trials is not None and self.warm_share is not None:
            raise ValueError("trials: a tuned search begins from nothing; leave warm_share out")
        _check_ladder(self.rungs or ())
        return self


def _check_ladder(rungs: Sequence[Rung]) -> None:
    if len({rung.name for rung in rungs}) < len(rungs):
        raise ValueError("rungs: one is named twice")
    for rung in rungs:
        if len(set(rung.windows)) < len(rung.windows) or rung.full_rows < rung.pilot_rows:
            raise ValueError(f"rungs: {rung.name}: each window once, and full_rows at least pilot_rows")
        if rung.trials is not None and rung.warm_share is not None:
            raise ValueError(f"rungs: {rung.name}: a tuned search begins from nothing; leave warm_share out")
        if rung.most_warm_starts is not None and rung.warm_share is None:
            raise ValueError(f"rungs: {rung.name}: most_warm_starts says nothing without warm_share")
    for place, rung in enumerate(rungs):
        if rung.most_warm_starts is not None and all(each.warm_share is not None for each in rungs[place + 1 :]):
            raise ValueError(
                f"rungs: {rung.name}: most_warm_starts wants a lighter rung without warm_share, to begin from nothing"
            )
    for deeper, lighter in pairwise(rungs):
        rows, hours = lighter.full_rows > deeper.full_rows, lighter.hours_share > deeper.hours_share
        if rows or hours or (lighter.trials or 0) > (deeper.trials or 0):
            raise ValueError(f"rungs: {lighter.name} is deeper than {deeper.name} before it: the deepest comes first")


class Gate(Rules):
    """When a candidate may replace the champion."""

    alpha: Alpha = Field(description="Chance of releasing an equal candidate, before payment for reused rows.")
    selection_batches: Annotated[int, Field(ge=1)] = Field(
        description="Matured batches before the held-out ones on which pilots compete."
    )
    holdout_batches: Annotated[int, Field(ge=1)] = Field(description="Newest matured batches held out.")
    min_rows: int = Field(
        ge=50, description="Fewest rows to compete on, held-out rows, and matured rows since the gate's last verdict."
    )
    max_rows: int = Field(ge=50, description="Most rows to compete on, and most held-out rows, the newest.")
    min_class_rows: int = Field(ge=2, description="Fewest labels of the rarer class to compete and to judge on.")
    guard_margin: NotNegative = Field(description="Relative worsening of a guard metric that is not yet inferior.")
    guard_alpha: Alpha = Field(description="Level at which the lower bound of a guard metric's gain is taken.")
    refit_tolerance: NotNegative = Field(description="Relative worsening of the refit against its twin on the holdout.")
    overlap_slack: Share = Field(description="Share of held-out rows seen in training, above what the reference has.")


class WatchRules(Rules):
    """How a release is watched."""

    looks: Annotated[int, Field(ge=1)] = Field(description="Looks with enough rows before a release is kept.")
    min_rows: int = Field(ge=50, description="Fewest matured rows since the release for a look.")
    alpha: Alpha = Field(description="Chance of rolling back an equal release, over all looks.")


class JobRules(Rules):
    """What is done about training jobs that do not end well. It decides nothing else: a home at work may change it."""

    most_failures: Annotated[int, Field(ge=1)] = Field(
        description="Attempts of one job that may fail, each for whatever cause, before it is given up."
    )
    most_interruptions: Annotated[int, Field(ge=0)] = Field(
        description="How often one job may be preempted, requeued, or lose its node before it is given up."
    )
    memory_factor: Annotated[float, Field(gt=1, le=10)] = Field(
        description="Factor on the memory that is asked for after an attempt ran out of it."
    )
    time_factor: Annotated[float, Field(gt=1, le=10)] = Field(
        description="Factor on the time limit after an attempt reached it without any progress."
    )
    queue_deadline_h: Hours | None = Field(
        default=None, description="Hours in the queue after which a job is withdrawn. Left out: it may wait for ever."
    )


class Policy(Rules):
    """The versioned rules by which hpcretrain decides."""

    name: str = Field(min_length=1, description="Name of the policy.")
    score: Score
    classes: Classes
    data_gate: DataGate
    training: Training
    gate: Gate
    watch: WatchRules
    jobs: JobRules
    approvals: Approvals | None = Field(
        default=None, description="What a person must approve. Left out: nothing, and only the owner of the home asks."
    )
    admission: Admission | None = Field(
        default=None, description="What trainings share. Left out: nothing is shared, and only classes limit them."
    )
    windows: Windows | None = Field(
        default=None,
        description="When traffic is low enough to train. Left out: its defaults, where they are asked for.",
    )
    roles: dict[str, Role] | None = Field(
        default=None, description="Who may do what, by the name of the role. Left out: `approvals` says it."
    )
    break_glass: BreakGlass | None = Field(
        default=None, description="What may be done in an emergency. Left out: nothing beyond the rules."
    )
    deadlines: Deadlines | None = Field(
        default=None, description="How long a stage may take before people are told. Left out: nobody is told."
    )

    @model_validator(mode="after")
    def _governed(self) -> Self:
        problems = [*self._misclassed(), *self._unruled(), *self._emergencies()]
        if self.approvals and not problems:
            problems += short_of_people(self.approvals, self.roles, self.classes.order)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _misclassed(self) -> Iterator[str]:
        """What names a class that there is not, and what lacks one that there is."""
        order, rules = self.classes.order, self.admission
        for key, names in self._named():
            for name in names:
                if name not in order:
                    yield f"{key}: {name} is no class; the classes are {', '.join(order)}"
        for name in self.classes.further:
            if name in {*Admission.model_fields, *Needed.model_fields}:
                yield f"classes.{name}: is no name of a class: it is a key of [admission] or [approvals.needed]"
            elif rules and name not in rules.further:
                yield f"admission.{name}: is missing; each of the classes has its table there"
        delays = [rules.of(each).delay_hours for each in order] if rules else []
        if delays != sorted(delays):
            yield "admission: delay_hours: a more urgent class may not have the longer delay"

    def _named(self) -> Iterator[tuple[str, Iterable[str]]]:
        """Each key that names classes, with what it names."""
        if self.admission:
            yield "admission", self.admission.further
        if self.approvals:
            yield "approvals.run", self.approvals.run
            yield "approvals.release", self.approvals.release
            yield "approvals.needed", self.approvals.needed.further if self.approvals.needed else ()
        for name, role in (self.roles or {}).items():
            for key in ("ask", "approve_run", "approve_release"):
                yield f"roles.{name}.{key}", getattr(role, key)

    def _unruled(self) -> Iterator[str]:
        roles, named = self.roles, self.approvals and (self.approvals.approvers or self.approvals.requesters)
        if roles is not None and named:
            yield "approvals: roles say who may approve and ask; leave approvers and requesters out"
        if self.approvals and roles is None and not self.approvals.approvers:
            yield "approvals.approvers: is missing; name who may approve, or give roles"
        if roles is not None and self.approvals is None:
            yield "approvals: is missing; with roles it says at least expires_h"
        if roles is not None and not any(role.activate for role in roles.values()):
            yield "roles: none may activate another policy, so this one could never be changed"

    def _emergencies(self) -> Iterator[str]:
        roles = self.roles or {}
        breakers = [name for name, role in roles.items() if role.break_glass]
        if breakers and self.break_glass is None:
            yield f"break_glass: is missing, but role {breakers[0]} may break the glass"
        if self.break_glass and not breakers:
            yield "break_glass: no role may break the glass; give one break_glass = true"
        if self.break_glass and not any(role.review for role in roles.values()):
            yield "break_glass: no role may review it; give one review = true"
