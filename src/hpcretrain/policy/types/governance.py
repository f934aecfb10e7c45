"""The types of the governance of a policy: who may do what, what must be approved, and by when things are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from hpcretrain.policy.types.tables import ByClass, Hours, Rules
from hpcretrain.priority import BUILT_IN, PriorityClass

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class Role(Rules):
    """What its members may do. Whoever is in several roles may do what any of them may."""

    members: Names = Field(
        description='Users as the identity source names them; "%staff" is a group, looked up at the moment of the act.'
    )
    ask: tuple[PriorityClass, ...] = Field(default=(), description="Classes in which they may request a retraining.")
    approve_run: tuple[PriorityClass, ...] = Field(default=(), description="Classes whose trainings they approve.")
    approve_release: tuple[PriorityClass, ...] = Field(default=(), description="Classes whose releases they approve.")
    stop: bool = Field(default=False, description="Stop and resume retraining, and cancel what others asked for.")
    roll_back: bool = Field(default=False, description="Take a release back.")
    activate: bool = Field(
        default=False, description="Propose another policy, and approve that one of somebody else's takes effect."
    )
    break_glass: bool = Field(default=False, description="Break the glass.")
    review: bool = Field(default=False, description="Review what somebody else broke the glass for.")


People = Annotated[int, Field(ge=1, le=9)]


class Needed(ByClass):
    """How many people must approve, beside whoever asked, also by the names of further classes. Else one."""

    __pydantic_extra__: dict[str, People] = Field(init=False)

    urgent: People = Field(default=1, description="For what is urgent: 2 is four eyes.")
    standard: People = Field(default=1, description="For what is standard.")
    background: People = Field(default=1, description="For the background.")

    policy: People = Field(default=1, description="For that another policy takes effect.")

    def of(self, priority_class: PriorityClass) -> int:
        """People for a class."""
        count: int = self.entry(priority_class) if priority_class in (*BUILT_IN, *self.further) else 1
        return count


class Approvals(Rules):
    """What a person must approve in a home that lives. Nobody approves what he asked for himself."""

    run: tuple[PriorityClass, ...] = Field(default=(), description="Classes whose trainings are approved beforehand.")
    release: tuple[PriorityClass, ...] = Field(
        default=(), description="Classes whose candidates are approved before they serve."
    )
    overrule: tuple[Literal["cooldown", "budget", "operational_risk"], ...] = Field(
        default=("cooldown", "budget"),
        description="Checks that an approval sets aside, for what somebody asked for.",
    )
    approvers: tuple[str, ...] = Field(
        default=(),
        description='Users of the operating system who may approve; "%staff" means a group. Left out where there are '
        "`roles`.",
    )
    requesters: tuple[str, ...] = Field(
        default=(),
        description="Users and groups who may ask, beside approvers and the owner of the home. Left out where there "
        "are `roles`.",
    )
    expires_h: Hours = Field(description="Hours after which what was asked can no longer be approved.")
    needed: Needed | None = Field(default=None, description="People who must approve, by class. Left out: one.")
    other_releaser: bool | None = Field(
        default=None, description="Whether who approved the training may not approve its release. Left out: he may."
    )

    def people(self, priority_class: PriorityClass) -> int:
        """How many must approve what is of a class."""
        return self.needed.of(priority_class) if self.needed else 1


def short_of_people(
    approvals: Approvals, roles: Mapping[str, Role] | None, classes: Iterable[PriorityClass]
) -> Iterator[str]:
    """What could never be approved, since fewer people may than must.

    Of a group, behind a percent sign, the operating system alone knows the members: what a group may approve is not
    counted.
    """
    for each in classes:
        run, release = (_may(approvals, roles, what, each) for what in ("approve_run", "approve_release"))
        key, people = f"approvals.needed.{each.value}", approvals.people(each)
        # Where somebody may approve a training at all, an approval is asked for to set a check aside, too.
        if each in approvals.run or (approvals.overrule and run):
            yield from _short(key, people, run, f"a training that is {each.value}", "approve_run")
        if each in approvals.release:
            yield from _short(key, people, release, f"a release that is {each.value}", "approve_release")
        if approvals.other_releaser and each in approvals.run and each in approvals.release:
            what = f"a training that is {each.value} and, others, its release"
            yield from _short(key, 2 * people, run | release, what, "approve_run or approve_release")
    people = approvals.needed.policy if approvals.needed else 1
    yield from _short("approvals.needed.policy", people, _may(approvals, roles, "activate"), "a policy", "activate")


def _may(
    approvals: Approvals, roles: Mapping[str, Role] | None, act: str, priority_class: PriorityClass | None = None
) -> frozenset[str]:
    """Users and groups who may do it."""
    if roles is None:
        return frozenset(approvals.approvers)
    allowed = (
        role for role in roles.values() if (found := getattr(role, act)) is True or priority_class in (found or ())
    )
    return frozenset(member for role in allowed for member in role.members)


def _short(key: str, people: int, names: frozenset[str], what: str, act: str) -> Iterator[str]:
    if len(names) < people and not any(name.startswith("%") for name in names):
        whom = f": {', '.join(sorted(names))}" if names else ""
        may = f"{len(names)} may{whom}; name more who have {act}, or ask for fewer"
        yield f"{key}: {people} must approve {what}, and {may}"


class BreakGlass(Rules):
    """What an emergency may do: set approvals, budget, cooldown, windows and the queue aside, never a check."""

    minutes: Annotated[float, Field(gt=0, le=240)] = Field(description="How long it counts, in minutes.")
    review_h: Hours = Field(description="Hours within which somebody else reviews it; then it escalates.")


class Deadlines(Rules):
    """How long a stage may take, in hours, before people are told. Left out: as long as it likes."""

    waiting_h: Hours | None = Field(default=None, description="From a request to the decision to run or to drop it.")
    approval_h: Hours | None = Field(default=None, description="From an ask to its answer.")
    queue_h: Hours | None = Field(default=None, description="From the decision to run, while no job has begun.")
    training_h: Hours | None = Field(
        default=None, description="From the decision to run to what comes of it: queue, training and validation."
    )
    watch_h: Hours | None = Field(default=None, description="From a release to the end of its watch.")
    tier_factor: Annotated[float, Field(gt=1, le=10)] = Field(
        default=2.0, description="Each further tier is told when so many times more time has passed."
    )
    tiers: Annotated[int, Field(ge=1, le=5)] = Field(default=3, description="How many tiers there are.")
