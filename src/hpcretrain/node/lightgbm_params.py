"""The parameters that a user sets for LightGBM: known, good, and the user's to set."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from hpcretrain.errors import InputError

ROUNDS = "rounds"

DEFAULTS: dict[str, Any] = {"num_leaves": 15, "feature_fraction": 0.5, "learning_rate": 0.1}
DEFAULT_ROUNDS = 100

_OWN = {
    "objective": "model.task says it",
    "metric": "the primary metric says it",
    "num_threads": "set model.threads",
    "early_stopping_round": "the gate judges on rows held out in time",
    "categorical_feature": "set model.categorical",
    "boosting": "only gradient-boosted trees can be resumed in segments",
    "reg_sqrt": "scores of segments would not fit",
    "sigmoid": "scores of segments would not fit",
    "deterministic": "the same job must give the same model",
    "force_row_wise": "the same job must give the same model",
    "force_col_wise": "the same job must give the same model",
    "verbosity": "nobody reads it",
    "task": "this is training",
    "data": "set data.path",
    "valid": "the gate judges on rows held out in time",
    "input_model": "the policy says what a training starts from: training.warm_share",
    "tree_learner": "one process trains",
    "num_machines": "one process trains",
    "machines": "one process trains",
    "machine_list_filename": "one process trains",
} | dict.fromkeys(
    (
        "seed",
        "data_random_seed",
        "feature_fraction_seed",
        "bagging_seed",
        "extra_seed",
        "objective_seed",
        "drop_seed",
    ),
    "set model.seed",
)
# They have one entry a feature, which nothing knows before the data is read.
_BY_FEATURE = {"monotone_constraints", "interaction_constraints", "feature_contri", "max_bin_by_feature"}

Attempt = Callable[[Mapping[str, Any]], None]


def checked(params: Mapping[str, Any], attempt: Attempt) -> tuple[dict[str, Any], int]:
    """LightGBM's parameters by their main names, over the defaults, and the number of rounds.

    Args:
        params: What the user set.
        attempt: Trains a little with parameters, and raises LightGBM's error if it refuses them.

    Raises:
        InputError: A parameter is unknown, set twice, has a bad value, or is not the user's to set.
    """
    if not params:
        # LightGBM need not be imported to know that it accepts the defaults.
        return dict(DEFAULTS), DEFAULT_ROUNDS
    chosen, problems = _by_main_name(params)
    rounds = chosen.pop(ROUNDS, DEFAULT_ROUNDS)
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        problems.append(f"model.params.{ROUNDS}: is {rounds!r}; it must be a whole number, at least 1")
    if not problems:
        problems = _refused({name: value for name, value in chosen.items() if name not in _BY_FEATURE}, attempt)
    if problems:
        raise InputError(problems)
    return DEFAULTS | chosen, rounds


def _by_main_name(params: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    # LightGBM prefers a main name over its aliases and overlooks unknown ones in silence, so both are settled here.
    from lightgbm.basic import _ConfigAliases

    names = _ConfigAliases._get_all_param_aliases()
    main = {alias: name for name, aliases in names.items() for alias in (name, *aliases)}
    main |= {alias: ROUNDS for alias, name in main.items() if name == "num_iterations"} | {ROUNDS: ROUNDS}
    chosen: dict[str, Any] = {}
    problems = []
    for given, value in params.items():
        name = main.get(given)
        if name is None:
            near = difflib.get_close_matches(given, main, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else "; see LightGBM's list of parameters"
            problems.append(f"model.params.{given}: LightGBM has no such parameter{hint}")
        elif name in _OWN:
            problems.append(f"model.params.{given}: cannot be set here: {_OWN[name]}")
        elif name in chosen:
            problems.append(f"model.params.{given}: {name} is set twice, under two names; keep one")
        else:
            chosen[name] = value
    return chosen, problems


def _refused(params: Mapping[str, Any], attempt: Attempt) -> list[str]:
    from lightgbm.basic import LightGBMError

    problems = []
    for name, value in params.items():
        try:
            attempt({name: value})
        except (LightGBMError, TypeError, ValueError) as error:
            problems.append(f"model.params.{name}: LightGBM refuses {value!r}: {error}")
    if not problems:
        try:
            attempt(params)
        except (LightGBMError, TypeError, ValueError) as error:
            problems.append(f"model.params: LightGBM refuses these together: {error}")
    return problems
