"""Read a configuration and its policy; every problem at once, with file and key."""

from __future__ import annotations

import dataclasses
import glob
import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from hpcretrain.canonical import canonical, sha256
from hpcretrain.config.checked import named_kind, parse, read_toml
from hpcretrain.config.types import Config
from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.policy.types import JobRules, Policy

SHIPPED_POLICY = "standard.toml"

# Where files lie says nothing about what they hold: a moved table or a renamed policy is the same configuration. Who
# people are, and how they are told, decides nothing about a model, and must be mendable while a home is at work.
_NO_TERMS: Any = {"policy": True, "data": {"path"}, "identity": True, "notify": True, "retention": True}
_LATER = {"model": ("team", "after", "traffic", "search"), "data": ("drop", "mask")}


@dataclass(frozen=True)
class Terms:
    """A checked configuration with all that it names: the terms on which a model is watched."""

    config: Config
    policy: Policy
    folder: Path
    paths: tuple[Path, ...]
    reference_until: datetime
    config_digest: str
    policy_digest: str
    files: tuple[Path, ...]
    """The configuration, and the policy if it is a file beside it."""

    @property
    def config_text(self) -> str:
        """The configuration as canonical JSON; `config_digest` is its SHA-256."""
        return _config_text(self.config)

    @property
    def policy_text(self) -> str:
        """The policy as canonical JSON; `policy_digest` is its SHA-256."""
        return policy_text(self.policy)


def load(path: Path) -> Terms:
    """The terms that a configuration file sets.

    Raises:
        InputError: The file, its policy or its data files are missing, or hold what they may not.
    """
    config = parse(Config, read_toml(path), str(path))
    folder = path.resolve().parent
    problems: list[str] = []
    policy = shipped_policy()
    try:
        policy = _policy(config.policy.file, folder)
    except InputError as error:
        problems += error.problems
    until = datetime.now(UTC)
    try:
        until = _reference_until(config)
    except InputError as error:
        problems += error.problems
    pattern = os.path.join(glob.escape(str(folder)), config.data.path)
    paths = tuple(Path(name) for name in sorted(glob.glob(pattern, recursive=True)))
    if not paths:
        problems.append(f'{path}: data.path: no file matches "{config.data.path}" in {folder}')
    if problems:
        raise InputError(problems)
    return Terms(
        config=config,
        policy=policy,
        folder=folder,
        paths=paths,
        reference_until=until,
        config_digest=sha256(_config_text(config)),
        policy_digest=sha256(policy_text(policy)),
        files=tuple(file for file in (path.resolve(), folder / config.policy.file) if file.exists()),
    )


def _config_text(config: Config) -> str:
    content = config.model_dump(mode="json", exclude=_NO_TERMS, fallback=str)
    for table, keys in _LATER.items():
        # What came with a later version and is not used says nothing, so that configurations keep their digests.
        content[table] = {key: value for key, value in content[table].items() if key not in keys or value}
    return canonical(content)


def policy_text(policy: Policy) -> str:
    """A policy as canonical JSON, of which the digest is taken."""
    # How jobs are tried again changes no decision, and must be mendable while a home is at work.
    # A part that is left out says nothing, so that policies keep their digests when a release brings a new part.
    return canonical(policy.model_dump(mode="json", exclude={"jobs"}, exclude_none=True))


def known_key(path: Sequence[str]) -> bool:
    """Whether a policy may hold this key, whether or not one does; in a list, the path has the place."""
    return _known(Policy, path)


def _known(kind: Any, path: Sequence[str]) -> bool:
    if not path:
        return kind is not None
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(path[0])
        return _known(named_kind(kind) if field is None else field.annotation, path[1:])
    if get_origin(kind) is dict:
        return _known(get_args(kind)[1], path[1:])
    if get_origin(kind) is tuple:
        return path[0].isdecimal() and _known(get_args(kind)[0], path[1:])
    return get_origin(kind) in (Union, UnionType) and any(_known(each, path) for each in get_args(kind))


def shipped_policy() -> Policy:
    """The policy that ships with hpcretrain."""
    return _parse_policy(_shipped(), SHIPPED_POLICY)


def _shipped() -> dict[str, Any]:
    return tomllib.loads(resources.files("hpcretrain.config").joinpath(SHIPPED_POLICY).read_text(encoding="utf-8"))


def _parse_policy(content: Any, where: str) -> Policy:
    return parse(Policy, content, where, _shipped())


def load_policy(path: Path | None) -> Policy:
    """The policy of a file; without one, the one that ships.

    Raises:
        InputError: The file is missing, or holds what it may not.
    """
    return shipped_policy() if path is None else _parse_policy(inherited(path), str(path))


def inherited(path: Path) -> dict[str, Any]:
    """What a policy file says, over what the one says that it `extends`: key by key, a list as a whole.

    A family of `score.families` that says which it counts (`of`) takes the place of those.

    Raises:
        InputError: A file is missing or is no TOML, or they extend each other in a circle.
    """
    chain: list[Path] = []
    contents: list[dict[str, Any]] = []
    place: Path | None = path
    while place is not None:
        if place.resolve() in chain:
            raise InputError(f"{path}: extends: {place} extends itself, by way of {chain[-1].name}")
        chain.append(place.resolve())
        content = read_toml(place)
        base = content.pop("extends", None)
        contents.append(content)
        if base is not None and (not isinstance(base, str) or not base):
            raise InputError(f"{place}: extends: must be the name of a policy file (got {base!r})")
        place = None if base is None else place.parent / base
        if place is not None and base == SHIPPED_POLICY and not place.exists():
            contents.append(_shipped())
            break
    merged: dict[str, Any] = {}
    for content in reversed(contents):
        merged = _over(_ungrouped(merged, content), content)
    return merged


def _ungrouped(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    before, after = _families(base), _families(own)
    lists = [rule["of"] for rule in after.values() if isinstance(rule, dict) and isinstance(rule.get("of"), list)]
    taken = {name for name in before for of in lists if name in of and name not in after}
    if not taken:
        return base
    kept = {name: rule for name, rule in before.items() if name not in taken}
    return {**base, "score": {**base["score"], "families": kept}}


def _families(content: dict[str, Any]) -> dict[str, Any]:
    score = content.get("score")
    families = score.get("families") if isinstance(score, dict) else None
    return families if isinstance(families, dict) else {}


def _over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        before = merged.get(key)
        merged[key] = _over(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def kept_policy(text: str, where: str, jobs: JobRules | None = None) -> Policy:
    """The policy that `policy_text` wrote; as to `jobs`, which it leaves out, what is given, or the one that ships.

    Raises:
        InputError: It lacks what a policy has now, or has what it has no more.
    """
    try:
        kept = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not JSON: {error}") from error
    rest = (jobs or shipped_policy().jobs).model_dump(mode="json")
    return _parse_policy({**kept, "jobs": rest} if isinstance(kept, dict) else kept, where)


def read_policy(text: str) -> Policy:
    """A policy by its canonical text, as the ledger keeps it.

    Raises:
        InputError: It is one of another version of hpcretrain.
    """
    return kept_policy(text, "the policy in the ledger (of another version of hpcretrain?)")


def in_force(history: History) -> Policy:
    """The policy in force in a home.

    Raises:
        InputError: None is recorded.
    """
    if history.activation is None:
        raise InputError("no policy is recorded in this home yet, or it was made by hpcretrain with rules before 4")
    return read_policy(history.activation.policy)


def under(terms: Terms, text: str) -> Terms:
    """The same terms under another policy, by its canonical text; how jobs are tried again stays as it is.

    Raises:
        InputError: It is no policy, or one of another version.
    """
    policy = kept_policy(text, "the policy", terms.policy.jobs)
    return dataclasses.replace(terms, policy=policy, policy_digest=sha256(policy_text(policy)))


def _policy(name: str, folder: Path) -> Policy:
    path = folder / name
    if name == SHIPPED_POLICY and not path.exists():
        return shipped_policy()
    return load_policy(path)


def _reference_until(config: Config) -> datetime:
    text = config.backtest.reference_until
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f'backtest.reference_until: "{text}" is no time; write ISO 8601, such as "2013-03-01"'
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(config.data.timezone))
    return moment.astimezone(UTC)
