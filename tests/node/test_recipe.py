from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import SLOW_MEAN

from hpcretrain.errors import InputError
from hpcretrain.node.recipe import load_recipe


def test_a_recipe_in_a_module_beside_the_configuration_is_loaded_with_its_parameters(tmp_path: Path) -> None:
    (tmp_path / "beside_config.py").write_text(SLOW_MEAN)
    assert load_recipe("beside_config:SlowMean", {"segments": 7}, search_path=tmp_path).passes == 7


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("xgboost", {}, 'use "lightgbm", or your own as "package.module:callable"'),
        ("no_such_module:make", {}, "cannot import no_such_module"),
        ("broken_recipe:make", {}, "cannot import broken_recipe"),
        ("some_recipe:make", {}, 'has no callable "make"'),
        ("some_recipe:SlowMean", {"rounds": 3}, "refuses its parameters (given: rounds)"),
        ("some_recipe:SlowMean", {"segments": 0}, "segments must be at least 1"),
        ("some_recipe:Empty", {}, "without train, save, load, predict"),
        ("some_recipe:NoPasses", {}, "passes is None"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, name: str, params: dict[str, Any], says: str
) -> None:
    more = "\nclass Empty: pass\nclass NoPasses(SlowMean):\n    def __init__(self): self.passes = None\n"
    (tmp_path / "some_recipe.py").write_text(SLOW_MEAN + more)
    (tmp_path / "broken_recipe.py").write_text("def (")
    with pytest.raises(InputError) as caught:
        load_recipe(name, params, search_path=tmp_path)
    assert says in str(caught.value)


PROGRAM = """
import sys
from pathlib import Path
from hpcretrain.node.lean import leave_out
leave_out("sklearn")
import whylogs
assert "sklearn.cluster" not in sys.modules
from hpcretrain.node.recipe import load_recipe
print(load_recipe("learned:SlowMean", {"segments": 7}, search_path=Path(sys.argv[1])).passes)
"""


def test_a_program_that_leaves_scikit_learn_out_runs_a_recipe_that_needs_it(tmp_path: Path) -> None:
    (tmp_path / "learned.py").write_text(f"{SLOW_MEAN}\nimport sklearn.linear_model\n")
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
