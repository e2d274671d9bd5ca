"""What the README and DESIGN claim about speed and size, measured: `make bench`, or `python -m benchmarks.<name>`."""
