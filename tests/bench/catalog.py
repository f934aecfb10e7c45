"""What is measured: for each benchmark its goal, and what to know when reading it."""

from __future__ import annotations

from bench.benchmark import (
    Benchmark,
    Group,
    beyond_peer,
    lost_to_preemption,
    ours_less_peer,
    ours_over_peer,
    peer_over_ours,
)

GROUPS = (
    Group(
        "whylogs",
        (
            Benchmark(
                "profile_cpu_vs_whylogs",
                "CPU s of `whylogs.log` over ours: 1,000,000 rows, 20 mixed columns, same counts and sketches",
                "ratio",
                "higher",
                10,
                "Text and time columns included; one thread each",
                peer_over_ours,
            ),
        ),
    ),
    Group(
        "large",
        (
            Benchmark(
                "profile_worker_rows_s",
                "Rows a CPU second of a Dask worker: 12 files of 250,000 rows, 19 mixed columns, from file to profile",
                "rows/s",
                "higher",
                200_000,
                "A worker that has all imported; reading, hashing, profiling, writing, Dask's own work",
            ),
            Benchmark(
                "profile_second_worker",
                "The same: wall s with one worker over those with two, merging included",
                "ratio",
                "higher",
                1.8,
                "On two cores, which scheduler and client use too; all files lie in the page cache",
                peer_over_ours,
            ),
            Benchmark(
                "profile_merge_ms",
                "CPU ms a part for merging and for finding duplicates",
                "ms",
                "lower",
                50,
                "Sketches of 19 columns, of which 5 are text",
            ),
        ),
    ),
    Group(
        "evidently",
        (
            Benchmark(
                "profile_cpu_vs_evidently",
                "CPU s of evidently's default drift report over our profile and drift, same frame",
                "ratio",
                "higher",
                40,
                "Ours has counted the reference before, as in production; evidently takes both frames every time",
                peer_over_ours,
            ),
        ),
    ),
    Group(
        "mlflow",
        (
            Benchmark(
                "log_model_s",
                "Seconds to log and register a model, warm",
                "s",
                "lower",
                0.3,
                "A store in SQLite on a local disk",
            ),
        ),
    ),
    Group(
        "score",
        (
            Benchmark(
                "score_1000_models_ms",
                "1,000 models of 20 features each, from exact counts of stored profiles to score, action and class",
                "ms",
                "lower",
                100,
                "Drift, findings and all; reading the profiles from disk is not in it",
            ),
        ),
    ),
    Group(
        "replay",
        (
            Benchmark(
                "replay_10000_s",
                "Making 10,000 decisions of a home again, with all assessments and requests that led to them",
                "s",
                "lower",
                10,
                "About 11,700 assessments of up to 30 batches of 8 signals each are among them",
            ),
        ),
    ),
    Group(
        "ledger",
        (
            Benchmark(
                "ledger_verify_s",
                "Seconds to verify a ledger of 1,000,000 rows",
                "s",
                "lower",
                30,
                "One process; 20 signals and an assessment a batch, 0.8 GB in all, in the page cache",
            ),
        ),
    ),
    Group(
        "demo",
        (
            Benchmark(
                "demo_wall_s",
                "`hpcretrain demo` in a new home, set-up apart",
                "s",
                "lower",
                180,
                "Wall time; one thread a training, so another busy core does little, a busy disk more",
            ),
            Benchmark(
                "backtest_served_vs_ungated",
                "Flights: mean monthly AUC served, less that of ungated monthly retraining on all history",
                "AUC",
                "higher",
                -0.003,
                "The same in every run; one table, and the phase of retraining alone moves it by 0.002 to 0.003",
                ours_less_peer,
            ),
            Benchmark(
                "backtest_cpu_ratio",
                "Flights: CPU s of trainings over that of ungated monthly retraining",
                "ratio",
                "lower",
                0.75,
                "Rejected candidates count; the first champion counts on neither side",
                ours_over_peer,
            ),
        ),
    ),
    Group(
        "drift",
        (
            Benchmark(
                "false_alarm_rate",
                "Share of stationary 30-day histories, 50 columns, with any request because of decline",
                "share",
                "lower",
                0.01,
                "2,000 rows a day; requests for more rows (freshness) are not alarms",
                rate=True,
            ),
            Benchmark(
                "drift_power",
                "Share of 30-day histories found where one feature in ten moves by 0.3 sd and AUC falls by 0.02",
                "share",
                "higher",
                0.9,
                "The same rows, reference and rules; the change comes on a day from 5 to 15 and stays",
                rate=True,
            ),
        ),
    ),
    Group(
        "promotion",
        (
            Benchmark(
                "false_promotion_rate",
                "Share of equal candidates promoted, 5,000 rows, alpha 0.05",
                "share",
                "lower",
                0.05,
                "First use of a holdout, for which the gate spends 0.030 of alpha; later uses get less",
                rate=True,
            ),
            Benchmark(
                "promotion_power",
                "Share of candidates promoted that are better by 0.02 AUC, 5,000 rows",
                "share",
                "higher",
                0.8,
                "Hangs on how alike champion and candidate are: see below",
                rate=True,
            ),
        ),
    ),
    Group(
        "submissions",
        (
            Benchmark(
                "submit_vs_sbatch",
                "Wall s of decision, fsynced intent and submission over raw `sbatch` of the same script",
                "ratio",
                "lower",
                1.5,
                "Four transactions of the ledger, a fence and a batch file come to the disk; where inference can be "
                "reached is asked each time, while the rows are written, which does not count",
                ours_over_peer,
            ),
            Benchmark(
                "submit_vs_submitit",
                "Wall s of submitit's `submit` over ours, of several in a row",
                "ratio",
                "higher",
                15,
                "Of submitit's, 0.2 s are its throttle between two submissions; the first of a row is not throttled",
                peer_over_ours,
            ),
            Benchmark(
                "submit_batch_ms",
                "Ms a job, 1,000 jobs in one go",
                "ms",
                "lower",
                1,
                "Intents, fences, batch file and one array; rows and folders lie ready",
            ),
        ),
    ),
    Group(
        "urgent_starts",
        tuple(
            benchmark
            for suffix, intervals in (
                ("", "the minicluster's intervals of the scheduler"),
                ("_default_intervals", "Slurm's own intervals of the scheduler"),
            )
            for benchmark in (
                Benchmark(
                    f"urgent_start_vs_idle{suffix}",
                    "Urgent submission to first line: ours on a cluster full of our trainings over raw `sbatch` on an "
                    "idle one",
                    "ratio",
                    "lower",
                    1.2,
                    f"With {intervals}; a line of Python in a step; the victim leaves its segment (60,000 rows)",
                    ours_over_peer,
                ),
                Benchmark(
                    f"urgent_start_vs_grace{suffix}",
                    "The same: raw `sbatch` on a cluster full of jobs that ignore signals, GraceTime 5, over ours",
                    "ratio",
                    "higher",
                    5,
                    f"With {intervals}; the same runs of ours",
                    peer_over_ours,
                ),
            )
        ),
    ),
    Group(
        "requeued",
        (
            Benchmark(
                "victim_eligible_s",
                "Seconds from the end of an urgent job to its victim running again, `cred_expire` 120",
                "s",
                "lower",
                2,
                "Ours until its Python is up, Slurm's (the peer) until the first line of its batch script",
            ),
        ),
    ),
    Group(
        "lost_cpu",
        (
            Benchmark(
                "preemption_cpu_lost",
                "Share of training CPU lost to preemption, resume included, at 5 % urgent load",
                "share",
                "lower",
                0.01,
                "Ours and peer: CPU s of a training (200,000 rows of 20 features, 1,000 rounds) with and without one "
                "preemption; of 100 equal jobs five are urgent and preempt five others",
                lost_to_preemption,
            ),
        ),
    ),
    Group(
        "tracking",
        (
            Benchmark(
                "controller_cpu_share",
                "CPU s of the controller and its commands over wall s, 1,000 jobs tracked and awaited",
                "share",
                "lower",
                0.005,
                "In real time; four run at a time, so one ends every few seconds",
            ),
            Benchmark(
                "slurm_calls_per_hour",
                "Slurm commands an hour, 1,000 jobs tracked and awaited",
                "calls",
                "lower",
                120,
                "The same minutes, as if an hour went on like them",
            ),
        ),
    ),
    Group(
        "signals",
        (
            Benchmark(
                "signal_to_sbatch_ms",
                "Ms from an urgent request to a running controller to `sbatch` accepted, flights, p95",
                "ms",
                "lower",
                100,
                "The socket, assessment, decision, the rows of three pilots written, intents, fences, one array",
                quantile=0.95,
            ),
        ),
    ),
    Group(
        "admissions",
        (
            Benchmark(
                "decide_10000_s",
                "CPU s for decisions on a backlog of 10,000 requests: order, every finding, expected starts",
                "s",
                "lower",
                1,
                "Slots, CPU hours and risk by model and team, dependencies, deadlines; 80 trainings under way",
            ),
        ),
    ),
    Group(
        "serving_log",
        (
            Benchmark(
                "serving_log_us",
                "µs a prediction that a serving process logs, 20 inputs, eight threads; the median call",
                "µs",
                "lower",
                5,
                "About 7,000 predictions a second; the thread that writes shares the cores, and nothing is dropped",
            ),
            Benchmark(
                "serving_log_p99_us",
                "The same; the 99th percentile",
                "µs",
                "lower",
                50,
                "Waiting for Python's lock and for a core is in it",
            ),
        ),
    ),
    Group(
        "windows",
        (
            *(
                Benchmark(
                    f"window_regret_{name}",
                    f"{data}: traffic in chosen 3 h windows over that in the best of each day in hindsight, less 1",
                    "share",
                    "lower",
                    0.01,
                    remark,
                    beyond_peer,
                )
                for name, data, remark in (
                    ("taxi", "Taxi rides in New York by half-hours", "187 days; no calendar of holidays is given"),
                    (
                        "bikeshare",
                        "Rented bicycles in Washington by hours",
                        "295 days without gaps; some 20 rentals a window, so hindsight mostly knows chance: see "
                        "docs/windows.md",
                    ),
                )
            ),
            Benchmark(
                "window_regret_vs_0200",
                'The same regret of "02:00 every night" over ours, the worse of the two',
                "ratio",
                "higher",
                5,
                "Ours and peer: regrets",
                peer_over_ours,
            ),
        ),
    ),
)

BENCHMARKS = {benchmark.name: benchmark for group in GROUPS for benchmark in group.benchmarks}
