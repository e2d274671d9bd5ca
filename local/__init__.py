"""Runs the whole service on one machine: `python -m local`, which is what `make run` does.

Nothing of it is deployed. Arrows: `__main__` → `supervisor` → everything else; `processes` and `valkey` → `spawn`.
"""
