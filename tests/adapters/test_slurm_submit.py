"""sbatch starts while the intent is written, and gets its script only then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcretrain.adapters.slurm import Slurm
from hpcretrain.config.cluster import Commands
from hpcretrain.errors import SlurmError


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    """A door whose sbatch says that it starts, reads a script to its end, keeps it, and tells a number."""
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(
        f'#!/bin/sh\ncd {tmp_path}\ntouch started\nscript=$(cat)\n[ "$script" ] || exit 1\n'
        'echo "$script" > submitted\necho 7\n'
    )
    sbatch.chmod(0o755)
    return Slurm(Commands(folder=tmp_path, timeout_s=5))


def when_started(folder: Path, then: Callable[[], str]) -> Callable[[], str]:
    """What makes a script once sbatch has started."""

    def make() -> str:
        while not (folder / "started").exists():
            pass
        return then()

    return make


def test_sbatch_starts_before_the_script_is_there(slurm: Slurm, tmp_path: Path) -> None:
    assert slurm.submit([], when_started(tmp_path, lambda: "#!/bin/bash")) == 7
    assert (tmp_path / "submitted").read_text() == "#!/bin/bash\n"


def test_an_intent_that_cannot_be_written_submits_nothing(slurm: Slurm, tmp_path: Path) -> None:
    def fails() -> str:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        slurm.submit([], when_started(tmp_path, fails))
    assert not (tmp_path / "submitted").exists()


def test_a_command_that_does_not_answer_is_ended(slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "sbatch").write_text("#!/bin/sh\nexec sleep 60\n")
    impatient = Slurm(Commands(folder=tmp_path, timeout_s=0.2))
    with pytest.raises(SlurmError, match=r"sbatch did not answer within 0\.2 s") as raised:
        impatient.submit([], lambda: "#!/bin/bash")
    assert raised.value.trouble == "unreachable"
