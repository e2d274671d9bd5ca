"""What can keep the service from running here.

LocalError            say it and exit with 1; the message is all the user needs
├── ValkeyError       the embedded server did not start, or its directory is taken
├── ProcfileError     the Procfile is missing, or does not say how to run something
└── KeepsDyingError   a process ended several times in a row before it had ever worked
"""


class LocalError(Exception):
    """The service cannot be run, for a reason that its user can read and mend."""


class ValkeyError(LocalError):
    """The embedded server did not start, or its directory is taken."""


class ProcfileError(LocalError):
    """The Procfile is missing, or does not say how to run something."""


class KeepsDyingError(LocalError):
    """A process ended several times in a row before it had ever worked."""
