"""`python -m local`: runs the whole service on this machine until Ctrl-C."""

import argparse
import io
import os
import sys
from pathlib import Path

from local.errors import LocalError
from local.processes import Console
from local.settings import read_settings
from local.signals import Signals
from local.supervisor import Supervisor


def main() -> int:
    """Return the exit code: 0 after Ctrl-C or SIGTERM, 1 when the service cannot be run (stdout says why)."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent, help="where Procfile and .env are")
    root: Path = parser.parse_args().root.resolve()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # A child may print what the terminal cannot show.
    console = Console(sys.stdout)
    with Signals() as signals:
        try:
            return Supervisor(read_settings(root, os.environ), console, signals).run()
        except LocalError as error:
            console.say("local", str(error))
            return 1


if __name__ == "__main__":
    sys.exit(main())
