"""What led to a model: the records and digests that its run in MLflow names."""

from __future__ import annotations

from hpcretrain.canonical import plain
from hpcretrain.history import History
from hpcretrain.records import Baseline, Decision, Job, Record, RetrainRequest, Verdict


def cycle_of(history: History, record: Record) -> str:
    """Identifier of the request that a record goes back to, by what it answers first; of the baseline at the start."""
    while record.answers and not isinstance(record, RetrainRequest):
        record = history.known[record.answers[0]]
    return record.id


def lineage(history: History, job: Job) -> dict[str, str]:
    """The lineage of a job's model, by names that stand in MLflow as tags `hpcretrain.<name>`.

    Call it before the model's release is recorded: `parent` is the champion that it was to replace.
    """
    baseline = history.baseline
    told = {"at": plain(job.at), "answers": ",".join(job.answers), "job": job.id, "cycle": cycle_of(history, job)}
    record: Record = job
    while record.answers and not isinstance(record, RetrainRequest):
        record = history.known[record.answers[0]]
        if isinstance(record, Verdict | Decision | RetrainRequest | Baseline):
            told.setdefault({"verdict": "twin_verdict"}.get(record.kind, record.kind), record.id)
    if baseline is not None:
        told |= {
            "baseline": baseline.id,
            "config_digest": baseline.config_digest,
            "policy_digest": baseline.policy_digest,
            "rules": baseline.rule_version,
        }
    if history.releases:
        parent = history.releases[-1]
        told |= {"parent": parent.candidate, "parent_release": parent.id, "parent_digest": parent.model_digest}
    if job.start:
        told |= {"start": job.start.candidate, "start_digest": job.start.model_digest}
    told["data_digest"] = job.window.digest
    return told
