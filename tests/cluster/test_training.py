"""Training on a real cluster by an ordinary user: submission, preemption, failures, and what is told of them."""

from __future__ import annotations

import pytest
from minicluster import Cluster
from site_for_tests import Site, until

SLOW = {"segments": 40, "sleep_s": 0.1}


@pytest.fixture(scope="session")
def site(cluster: Cluster) -> Site:
    return Site(cluster)


@pytest.fixture(scope="session")
def undisturbed(site: Site) -> str:
    """The digest of the model that an uninterrupted job makes."""
    [digest] = site.training(params=SLOW).start().end()["digests"]
    return str(digest)


def test_jobs_that_compete_are_one_array_and_each_ends_with_its_model(site: Site) -> None:
    training = site.training(jobs=[{"seed": seed} for seed in (1, 2, 3)], params={"segments": 4})
    told = training.start().end()
    assert len(told["digests"]) == 3
    assert told["calls"]["sbatch"] == 1
    assert len(set(training.numbers())) == 1
    assert [note["reason"] for note in training.notes("job_proven")]


def test_an_urgent_job_takes_the_place_of_a_background_job_which_goes_on_to_the_same_model(
    site: Site, undisturbed: str
) -> None:
    training = site.training(params=SLOW).start()
    until(lambda: training.told("begun"))
    # Others hold the rest of the nodes, so that room must be made.
    list(site.fill("urgent", 8))
    told = training.end()
    assert told["digests"] == [undisturbed]
    assert len(training.lives()) >= 2, "it was never interrupted"
    [interrupted, *_] = training.told("ended")
    assert interrupted["kind"] == "interrupted"
