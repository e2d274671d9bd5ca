"""The chaos journey: processes are killed, connections cut and delayed, targets fail, and nothing is lost.

`python -m tests.chaos` (or `make chaos`) prints the table that docs/reliability.md keeps. Arrows: `__main__` →
`proof` → `journey` → `plan`, `targets`.
"""
