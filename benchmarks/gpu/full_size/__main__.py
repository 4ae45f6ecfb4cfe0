"""The study's costs at full size on one GPU: sampling, its exactness, training steps, memory.

    PYTHONPATH=src python -m benchmarks.gpu.full_size --out FILE.json [--budget 220] [--reduced]

Rows come in order of importance; each gets a share of the seconds that are left, so that a slow
row means fewer repeats, not fewer rows. What had to be left out is listed. FILE is written again
after every row: a run that is cut off keeps what it measured. --reduced runs everything in
small, to try the script on a CPU.
"""

import argparse
import time
from pathlib import Path

# Before torch is imported: the budget counts that too.
BEGAN = time.monotonic()


def main() -> None:
    """Measure all rows that fit into the budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--budget", type=float, default=220, help="seconds in all")
    parser.add_argument("--reduced", action="store_true", help="small sizes, for a CPU")
    given = parser.parse_args()

    import torch

    from benchmarks.gpu.full_size import reconstructing, sampling, training
    from benchmarks.gpu.full_size.measure import Report
    from benchmarks.gpu.full_size.sizes import reduced, study

    if given.reduced:
        # Two threads that wait for each other on a busy machine take several times as long.
        torch.set_num_threads(1)
    sizes = reduced() if given.reduced else study()
    report = Report(given.out, BEGAN + given.budget, sizes)
    samples = sampling.Samples(sizes)
    rows = [
        *sampling.rows(samples),
        *training.denoiser_rows(sizes, samples.drop),
        *training.compressor_rows(sizes),
        *reconstructing.rows(sizes),
    ]
    report.measure(rows)
    report.show()


if __name__ == "__main__":
    main()
