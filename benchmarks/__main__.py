"""`python -m benchmarks [name …]`: runs all benchmarks, or those named, one after the other."""

import argparse
import sys

from benchmarks import (
    deployment,
    dwell,
    fairness,
    intake,
    liars,
    limit,
    neighbour,
    pacing,
    rest,
    scale,
    steady,
    waiting,
)
from benchmarks.service import run

ALL = {
    "pacing": pacing.main,
    "liars": liars.main,
    "deployment": deployment.main,
    "fairness": fairness.main,
    "intake": intake.main,
    "steady": steady.main,
    "dwell": dwell.main,
    "limit": limit.main,
    "neighbour": neighbour.main,
    "rest": rest.main,
    "scale": scale.main,
    "waiting": waiting.main,
}


def main() -> int:
    """Return 0 if all were measured, goals met or not; 1 if one failed; 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of: {', '.join(ALL)} (default: all)")
    names: list[str] = parser.parse_args().names
    if unknown := [name for name in names if name not in ALL]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(ALL)}")
    return run({name: ALL[name] for name in names or ALL})


if __name__ == "__main__":
    sys.exit(main())
