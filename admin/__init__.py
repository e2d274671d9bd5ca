"""What the operator does by hand: `python -m admin`, on the machine itself or as a one-off container of the PaaS."""
