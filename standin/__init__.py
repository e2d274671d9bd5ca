"""A stand-in for Scalingo's API, for `make run`, the tests and the benchmarks; not deployed.

`api` is the server. `state` decides each answer, from `operations`, `accounts` and `faults`. The tests' other stand-ins
use `loopback` and `replies`, too.
"""
