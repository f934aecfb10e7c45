"""CPU seconds of evidently's default data drift report; run by evidently's own Python, as `-m bench.evidently_report`.

Prints the fingerprints of the two frames, then for each line of standard input the CPU seconds of one report.
"""

from __future__ import annotations

import gc
import sys
import time
import warnings

from bench.profile_frames import CURRENT, REFERENCE, fingerprint, mixed_frame, row_hashes
from evidently import Report
from evidently.presets import DataDriftPreset


def main(rows: int) -> None:
    """Report on frames of so many rows, once for each line of standard input."""
    warnings.simplefilter("ignore")
    reference, current = (mixed_frame(rows, seed) for seed in (REFERENCE, CURRENT))
    print(*(fingerprint(row_hashes(frame)) for frame in (reference, current)), flush=True)
    # What it imports late, or computes once, is not in the figures.
    Report([DataDriftPreset()]).run(current.head(2000), reference.head(2000))
    for _ in sys.stdin:
        gc.collect()
        start = time.process_time()
        Report([DataDriftPreset()]).run(current, reference)
        print(time.process_time() - start, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
