from __future__ import annotations

from pathlib import Path

import pytest
from tables import configure, orders

from hpcretrain.canonical import sha256
from hpcretrain.config.load import kept_policy, load, load_policy, shipped_policy
from hpcretrain.errors import InputError
from hpcretrain.evidence import Family

TABLE = orders(100)


def problems(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    return str(caught.value)


def test_a_short_configuration_has_sensible_defaults(tmp_path: Path) -> None:
    terms = load(configure(tmp_path, TABLE))
    assert terms.config.model.primary_metric == "auc"
    assert terms.config.model.guard_metrics == ("log_loss",)
    assert terms.policy == shipped_policy()
    assert terms.paths == (tmp_path / "table.csv",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model__nmae": 'nmae = "x"'}, "model.nmae: unknown key; known here are"),
        ({"model__task": 'task = "ranking"'}, "model.task"),
        ({"model__primary_metric": 'primary_metric = "rmse"'}, 'primary_metric "rmse" does not fit task "binary"'),
        ({"model__guard_metrics": 'guard_metrics = ["mae"]'}, 'guard_metrics "mae" does not fit'),
        ({"model__guard_metrics": 'guard_metrics = ["auc"]'}, "other metrics than the primary"),
        ({"data__path": 'path = "nothing-*.csv"'}, 'no file matches "nothing-*.csv"'),
        ({"data__label_delay": 'label_delay = "soon"'}, "'soon' is no duration"),
        ({"data__label_delay": 'label_delay = "99999999999d"'}, "longer than 36500 days"),
        ({"data__label_delay": 'label_delay = "36501d"'}, "longer than 36500 days"),
        ({"backtest__report_every": 'report_every = "99999mo"'}, "is no duration"),
        ({"data__timezone": 'timezone = "Mars/Base"'}, 'unknown time zone "Mars/Base"'),
        ({"backtest__reference_until": 'reference_until = "spring"'}, '"spring" is no time'),
        ({"backtest__observe_every": 'observe_every = "0d"'}, "longer than nothing"),
        ({"backtest__report_every": 'report_every = "0mo"'}, "longer than nothing"),
        ({"policy__file": 'file = "mine.toml"'}, "mine.toml: there is no such file"),
    ],
)
def test_bad_input_is_named_with_its_key(tmp_path: Path, change: dict[str, str], words: str) -> None:
    assert words in problems(configure(tmp_path, TABLE, **change))


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = problems(configure(tmp_path, TABLE, model__task='task = "x"', data__timezone='timezone = "y"'))
    assert "model.task" in text
    assert "data.timezone" in text


def test_a_missing_file_and_a_file_that_is_not_toml_are_named(tmp_path: Path) -> None:
    assert "no such file" in problems(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[model\n")
    assert "is not TOML" in problems(tmp_path / "bad.toml")


def test_where_the_table_lies_is_not_part_of_the_configuration(tmp_path: Path) -> None:
    one = load(configure(tmp_path / "a", TABLE))
    (tmp_path / "b").mkdir()
    TABLE.to_csv(tmp_path / "b" / "other.csv", index=False)
    other = load(configure(tmp_path / "b", None, data__path='path = "other.csv"'))
    changed = load(configure(tmp_path / "c", TABLE, model__seed="seed = 2"))
    assert one.config_digest == other.config_digest != changed.config_digest


def test_a_bare_toml_date_is_as_good_as_a_quoted_one(tmp_path: Path) -> None:
    quoted = load(configure(tmp_path / "a", TABLE))
    bare = load(configure(tmp_path / "b", TABLE, backtest__reference_until="reference_until = 2024-02-01"))
    assert quoted.reference_until == bare.reference_until
    assert quoted.config_digest == bare.config_digest


def test_a_reference_date_is_in_the_zone_of_the_data(tmp_path: Path) -> None:
    terms = load(configure(tmp_path, TABLE, data__timezone='timezone = "America/New_York"'))
    assert terms.reference_until.isoformat() == "2024-02-01T05:00:00+00:00"


def test_a_policy_of_ones_own_counts_by_what_it_says_and_not_by_its_name(tmp_path: Path) -> None:
    from importlib import resources

    text = resources.files("hpcretrain.config").joinpath("standard.toml").read_text()
    configure(tmp_path, TABLE, policy__file='file = "mine.toml"')
    (tmp_path / "mine.toml").write_text(text)
    same = load(tmp_path / "config.toml")
    (tmp_path / "mine.toml").write_text(text.replace("threshold = 300 ", "threshold = 400 "))
    other = load(tmp_path / "config.toml")
    (tmp_path / "mine.toml").write_text(text.replace("most_failures = 3", "most_failures = 5"))
    patient = load(tmp_path / "config.toml")
    shipped = load(configure(tmp_path / "shipped", TABLE))
    assert same.policy_digest == shipped.policy_digest != other.policy_digest
    assert patient.policy.jobs.most_failures == 5
    assert patient.policy_digest == same.policy_digest, (
        "how often a job is tried decides nothing, and a home may change it"
    )
    (tmp_path / "mine.toml").write_text(text.replace("threshold = 300 ", "threshold = 3000\nthreshhold = 1 "))
    assert "score.threshhold: unknown key" in problems(tmp_path / "config.toml")
    assert "score.threshold" in problems(tmp_path / "config.toml")


def test_a_policy_kept_in_a_home_is_read_again_or_named_as_of_another_version(tmp_path: Path) -> None:
    terms = load(configure(tmp_path, orders(rows=200)))
    assert kept_policy(terms.policy_text, "policy.json") == terms.policy
    assert sha256(terms.policy_text) == terms.policy_digest
    assert sha256(terms.config_text) == terms.config_digest
    older = terms.policy_text.replace('"threshold":300,', "")
    with pytest.raises(InputError, match=r"policy\.json: score\.threshold: is missing"):
        kept_policy(older, "policy.json")


def test_a_policy_says_only_what_differs_from_the_one_that_it_extends(tmp_path: Path) -> None:
    (tmp_path / "team.toml").write_text('extends = "standard.toml"\nname = "team"\n[gate]\nalpha = 0.01\n')
    (tmp_path / "model.toml").write_text(
        'extends = "team.toml"\nname = "model"\n[score.families.serving]\nweight = 0.5\n[training]\nwindows = ["all"]\n'
    )
    found, shipped = load_policy(tmp_path / "model.toml"), shipped_policy()
    assert (found.name, found.gate.alpha, found.training.windows) == ("model", 0.01, ("all",))
    assert found.score.families["serving"].weight == 0.5
    assert found.score.families["serving"].scale == shipped.score.families["serving"].scale
    assert found.watch == shipped.watch


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('extends = "a.toml"', "extends itself"),
        ('extends = "b.toml"', "b.toml: there is no such file"),
        ("extends = 3", "must be the name of a policy file"),
        ('extends = "standard.toml"\nnmae = "x"', "nmae: unknown key"),
    ],
)
def test_a_policy_that_extends_nothing_sound_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(InputError, match=words):
        load_policy(tmp_path / "a.toml")


def test_all_that_is_wrong_with_a_policy_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'extends = "standard.toml"\n[score]\nthreshold = 0\nact_from = 2000\n[score.families.serving]\nreason = ""\n'
        "[[classes.urgent.when]]\nscore = 700\n"
    )
    with pytest.raises(InputError) as refused:
        load_policy(tmp_path / "a.toml")
    said = str(refused.value)
    for key in ("score.threshold", "score.act_from", "score.families.serving.reason", "classes.urgent.when.0.reason"):
        assert key in said


@pytest.mark.parametrize(
    "line",
    [
        "threshold = true",
        'threshold = "300"',
        "half_life_batches = true",
        'half_life_batches = "2"',
        "act_from = false",
    ],
)
def test_a_number_of_a_policy_is_written_as_one(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.toml").write_text(f'extends = "standard.toml"\n[score]\n{line}\n')
    with pytest.raises(InputError, match=rf"score\.{line.split()[0]}: .*must be a number, without quotes"):
        load_policy(tmp_path / "a.toml")


@pytest.mark.parametrize("value", ["1", '"yes"', "0.0"])
def test_yes_or_no_of_a_policy_is_written_as_true_or_false(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.toml").write_text(
        f'extends = "standard.toml"\n[approvals]\nrun = ["urgent"]\nother_releaser = {value}\n'
    )
    with pytest.raises(InputError, match=r"approvals\.other_releaser: .*must be true or false"):
        load_policy(tmp_path / "a.toml")


def test_what_does_not_fit_together_is_said_beside_what_is_wrong_by_itself(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'extends = "standard.toml"\n[score]\nwithdraw_below = 900\nsustain_slots = 0\n'
        '[training]\npilot_rows = 9000000\n[roles.ops]\npeople = ["ada"]\n'
    )
    with pytest.raises(InputError) as refused:
        load_policy(tmp_path / "a.toml")
    said = str(refused.value)
    for words in (
        "score.sustain_slots: Input should be greater",
        "score: withdraw_below must not be above threshold",
        "training: full_rows must be at least pilot_rows",
        "roles.ops.people: unknown key; known here are: activate,",
    ):
        assert said.count(words) == 1, said


def test_what_rests_on_a_wrong_key_is_not_said_to_be_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "standard.toml"\n[score]\nwithdraw_below = 900\nthreshold = 9000\n')
    with pytest.raises(InputError) as refused:
        load_policy(tmp_path / "a.toml")
    assert [problem.split(": ")[1] for problem in refused.value.problems] == ["score.threshold"]


def test_a_policy_groups_families_otherwise_than_the_one_that_it_extends(tmp_path: Path) -> None:
    (tmp_path / "team.toml").write_text(
        'extends = "standard.toml"\n[score.families.drift]\nof = ["input_drift", "prediction_shift"]\nweight = 0.4\n'
        'scale = 1.0\ncure = "retrain"\nreason = "both tell of the same"\n'
    )
    (tmp_path / "model.toml").write_text(
        'extends = "team.toml"\n[score.families.drift]\nweight = 0.3\n'
        '[score.families.serving]\nof = ["serving", "upstream"]\n'
    )
    families = load_policy(tmp_path / "model.toml").score.families
    assert families["drift"].of == (Family.INPUT_DRIFT, Family.PREDICTION_SHIFT)
    assert families["drift"].weight == 0.3
    assert families["serving"].of == (Family.SERVING, Family.UPSTREAM)
    assert families["serving"].weight == shipped_policy().score.families["serving"].weight
    assert not {"input_drift", "prediction_shift", "upstream"} & families.keys()
