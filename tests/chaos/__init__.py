"""The chaos journey: everything around an operation is killed, cut, delayed and made to fail, and nothing is lost.

`python -m tests.chaos` (or `make chaos`) prints the table that docs/reliability.md keeps. Arrows: `__main__` →
`proof` → `journey` → `plan`, `targets`.
"""
