"""Both stages on openly licensed brains at 2 mm, in minutes: what can be learned from one GPU.

    PYTHONPATH=src python -m benchmarks.gpu.open_study --pack open-2mm.npz --out OUT --budget 480

Reads the pack (see pack.py) and nothing else. Trains WF-SA-VAE and the denoiser for so many
seconds each, samples, measures, draws; each file is written as soon as there is something to
write. `--reduced` is a rehearsal on a CPU: half the resolution, tiny networks.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.gpu.open_study.study import SIZES, Study


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=380, help="seconds, everything together")
    parser.add_argument("--stage-a", type=float, default=140, help="seconds of the compressor")
    parser.add_argument("--stage-b", type=float, default=110, help="seconds of the denoiser")
    parser.add_argument("--second", type=float, default=45, help="seconds in the other space")
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--batch-a", type=int, default=4)
    parser.add_argument("--batch-b", type=int, default=16)
    parser.add_argument("--adversarial", type=float, default=0.01, help="its weight; 0: none")
    parser.add_argument("--steps", type=int, default=50, help="of Euler's method")
    parser.add_argument("--samples", type=int, default=24, help="of each well-filled modality")
    parser.add_argument("--amp", choices=["auto", "on", "off"], default="auto", help="bfloat16")
    parser.add_argument("--every", type=int, default=1, help="each n-th scan only: a rehearsal")
    parser.add_argument("--reduced", action="store_true", help="a rehearsal")
    return parser.parse_args()


def main() -> None:
    """Run the study."""
    chosen = options()
    if chosen.reduced:
        chosen.size = "tiny"
    study = Study(chosen)
    study.run()
    errors = study.out.results["errors"]
    study.out.tell(f"done, {len(errors)} errors")
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
