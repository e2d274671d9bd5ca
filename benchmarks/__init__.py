"""Measures the claims about speed and size: `make bench`, or `python -m benchmarks.<name>`."""
