"""How flows run: steered by a Prefect server, or as plain functions where there is none."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed

from hpcretrain.adapters.loopback import beside_proxies
from hpcretrain.errors import HomeInUse, HpcretrainError, PrefectError, SlurmError, SpoolError
from hpcretrain.flows.names import Kind, flow_name

P = ParamSpec("P")
R = TypeVar("R")

RETRY_AFTER_S = (2.0, 10.0, 30.0)
PATIENCE_S = 20.0
"""How long a run waits for whoever is at the home, and for a slot: while it waits it keeps others from starting."""


def may_be_tried_again(error: BaseException) -> bool:
    """Whether the same call, made again in a while, may come out otherwise."""
    match error:
        case SlurmError():
            return error.trouble != "refused"
        case PrefectError():
            return error.again
        case SpoolError():
            return True
        case HpcretrainError():
            # One that is in use, too: whoever is at the home may be there for long, and `reconcile` comes by.
            return False
        case _:
            return isinstance(error, OSError)


def _worth_another(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and may_be_tried_again(error)


def step(name: str, tags: tuple[str, ...] = ()) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A task around a function of the library; a plain call of that function outside a flow's run.

    Args:
        name: What it is called in Prefect.
        tags: Tags that Prefect's limits are about.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        task = Task(
            function,
            name=name,
            tags=set(tags),
            retries=len(RETRY_AFTER_S),
            retry_delay_seconds=list(RETRY_AFTER_S),
            retry_condition_fn=_worth_another,
            # Each call has to look at the world anew.
            cache_policy=NO_CACHE,
            persist_result=False,
        )

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if FlowRunContext.get() is None:
                return function(*args, **kwargs)
            return task(*args, **kwargs)

        return call

    return decorate


class HomeFlow(Flow[P, R]):
    """A flow that is a plain function where no Prefect server is configured."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if PREFECT_API_URL.value() is None:
            return self.fn(*args, **kwargs)
        os.environ.update(beside_proxies(os.environ))
        return super().__call__(*args, **kwargs)


def home_flow(kind: Kind, run_name: str) -> Callable[[Callable[P, R]], HomeFlow[P, R]]:
    """A flow about one home.

    Args:
        kind: What it does.
        run_name: What its runs are called: a template over the parameters.
    """

    def decorate(function: Callable[P, R]) -> HomeFlow[P, R]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                return function(*args, **kwargs)
            except HomeInUse as error:
                if not steered():
                    raise
                return Completed(name="Skipped", message=f"{error}; `reconcile` does within a minute what was due")

        # The names in its types are those of its own module.
        run.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
        return HomeFlow(
            run, name=flow_name(kind), flow_run_name=run_name, persist_result=False, validate_parameters=True
        )

    return decorate


def steered() -> bool:
    """Whether a deployment's run is going on: only such a run can be suspended."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


@contextmanager
def slot(limit: str) -> Iterator[None]:
    """Hold a slot of one of Prefect's limits, unless none comes free in time: it may have lost track of one."""
    from prefect.concurrency.sync import concurrency
    from prefect.logging import get_run_logger

    with ExitStack() as held:
        try:
            held.enter_context(concurrency(limit, occupy=1, timeout_seconds=PATIENCE_S))
        except TimeoutError:
            get_run_logger().warning("No slot of %s came free in %g s; going on without", limit, PATIENCE_S)
        yield
