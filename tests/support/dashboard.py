"""`python -m tests.support.dashboard`: writes a test for promtool of every query of the Grafana dashboard.

Each must parse, show something, and show the same whether one `web` process is scraped or two: both read Redis.
"""

import json
import re
from itertools import product

from tests.support.running import ROOT

LABELS = 'account="default",reason="timeout",result="answered",right="yes",state="dead",version="1"'
SCRAPED = (("one", "a"), ("two", "a"), ("two", "b"))
"""Jobs and instances."""


def main() -> None:
    """Print the test as JSON, which is YAML too."""
    dashboard = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = sorted(set(re.findall(r"\bopwatch_\w+", " ".join(queries))))
    series = [
        f'{name}{{job="{job}",instance="{instance}",target="{target}",le="{le}",{LABELS}}}'
        for name, (job, instance), target, le in product(names, SCRAPED, ("slack", "webhook"), ("1", "+Inf"))
    ]
    expected: list[dict[str, object]] = [
        {"expr": _same(query), "eval_time": "40m", "exp_samples": []} for query in queries
    ]
    expected += [
        {
            "expr": f"count({_of('one', query)}) > bool 0",
            "eval_time": "40m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for query in queries
    ]
    test = {"interval": "1m", "input_series": [{"series": each, "values": "7+7x60"} for each in series]}
    print(json.dumps({"tests": [{**test, "promql_expr_test": expected}]}, indent=1))


def _of(job: str, query: str) -> str:
    for variable, value in {"$job": job, "$instance": ".*", "$__rate_interval": "5m"}.items():
        query = query.replace(variable, value)
    return f"({query})"


def _same(query: str) -> str:
    return f"{_of('one', query)} != {_of('two', query)} or ({_of('one', query)} unless {_of('two', query)})"


if __name__ == "__main__":
    main()
