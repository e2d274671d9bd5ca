"""Runs the service on one machine: for `make run` (`python -m local`), the tests and the benchmarks; not deployed.

`processes` starts, watches and stops programs, `valkey` a server with persistence, `service` all of Opwatch.
"""
