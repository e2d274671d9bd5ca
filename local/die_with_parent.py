"""Becomes another program that Linux kills with SIGKILL as soon as its parent is gone: `… PARENT_PID PROGRAM ARGS…`.

The setting (PR_SET_PDEATHSIG) has to be made between fork and exec. `preexec_fn` would run Python there, in a copy of a
process whose other threads may have held any lock at the fork; a program of its own has no such past.
SIGKILL because nothing is won by asking: Valkey goes in the same moment, so there is nowhere left to write to.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone already")  # It died before the setting was made.
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - becoming another program is the purpose
