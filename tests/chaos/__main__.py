"""`python -m tests.chaos`: runs the chaos journey for many seeds and prints a table."""

import argparse
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from tests.chaos.journey import staged
from tests.chaos.proof import Findings, prove, table


def main() -> int:
    """Return the exit code: 0 if every seed met all promises."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default: %(default)s)")
    parser.add_argument("--operations", type=int, default=200, help="a seed (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of faults, a seed (default: %(default)s)")
    arguments = parser.parse_args()
    findings = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        found = _one(seed, arguments.operations, arguments.seconds)
        findings.append(found)
        print(table([found]).splitlines()[2], flush=True)
        for wrong in found.wrong:
            print(f"  seed {seed}: {wrong}", flush=True)
    print(f"\n{table(findings)}")
    return 1 if any(found.wrong for found in findings) else 0


def _one(seed: int, operations: int, seconds: float) -> Findings:
    printed = StringIO()
    with (
        tempfile.TemporaryDirectory(prefix="opwatch-chaos-") as directory,
        redirect_stdout(printed),
        staged(seed, Path(directory), operations=operations, seconds=seconds) as journey,
    ):
        journey.run()
        found = prove(journey)
    if found.wrong:
        output = Path(tempfile.gettempdir()) / f"opwatch-chaos-{seed}.log"
        output.write_text(printed.getvalue(), encoding="utf-8")
        print(f"  seed {seed}: everything printed is in {output}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
