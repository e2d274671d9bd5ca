"""The operator's commands: `python -m admin`, on the machine itself or in a one-off container of the PaaS."""
