"""Measures how Opwatch slows down for another client with half of the account's requests, and recovers."""

import base64
import sys
import time
from contextlib import suppress
from http import HTTPStatus

from benchmarks.limit import LIMIT, OUR_SHARE, WINDOW_S, most_in_a_window
from benchmarks.service import Stage, call, run, wait_until
from benchmarks.table import Row, print_circumstances, print_goals
from local.processes import LocalError
from local.service import API_TOKEN
from operations.storage.budget import Budget

OPERATIONS = 100  # enough to use every token
OTHER_A_MINUTE = 30
OTHER_FOR_S = 150.0
LASTING_S = 3600.0
LEAST_LOOKS_BESIDE = 15
LEAST_LOOKS_AFTERWARDS = 35
BACK_WITHIN_S = WINDOW_S + 5 + 105
"""The limit must forget the other client. A last 429 may come just before, at the least share, which takes 105 s to
grow. """


def main() -> None:
    """Measure and print."""
    print_circumstances("neighbour")
    with Stage() as stage:
        stage.start_api(limit=LIMIT)
        processes = stage.start_service()
        budget = Budget(stage.redis, OUR_SHARE)
        for _ in range(OPERATIONS):
            stage.track(stage.begin("shop", duration_s=LASTING_S))
        came_at = time.time()
        least = min(_shares_beside_another(stage, budget))
        left_at = time.time()
        back_s = wait_until(
            lambda: budget.balance("default").share == 1, *processes, timeout_s=2 * BACK_WITHIN_S, every_s=0.5
        )
        back_at = time.time()
        time.sleep(WINDOW_S)
        requests = stage.seen_by_api()["requests"]
    # The other's one sign-in counts as ours: the log cannot distinguish them.
    ours = [each for each in requests if "/elsewhere/" not in each["path"]]
    refused = [each for each in requests if each["status"] == HTTPStatus.TOO_MANY_REQUESTS]
    refused_to_us = [each["at"] for each in ours if each in refused]
    answered = [each["at"] for each in ours if each["status"] == HTTPStatus.OK]
    beside = sum(came_at <= at < left_at for at in answered) / (left_at - came_at) * 60
    afterwards = sum(back_at <= at < back_at + WINDOW_S for at in answered)
    late = sum(at > left_at + WINDOW_S for at in refused_to_us)
    most = most_in_a_window([each["at"] for each in ours])
    print_goals(
        f"neighbour: {OPERATIONS} operations; another asks {OTHER_A_MINUTE} times a minute for {OTHER_FOR_S:g} s",
        [
            Row(
                "answers a minute beside it", f"{beside:.1f}", f">= {LEAST_LOOKS_BESIDE}", beside >= LEAST_LOOKS_BESIDE
            ),
            Row("least share of our rate", f"{least:.2f}", "< 1", least < 1),
            Row("answers 429 to us", str(len(refused_to_us))),
            Row("answers 429 to the other", str(len(refused) - len(refused_to_us))),
            Row(
                "from its end to our whole rate", f"{back_s:.0f} s", f"<= {BACK_WITHIN_S:g} s", back_s <= BACK_WITHIN_S
            ),
            Row(
                "answers in the minute after that",
                str(afterwards),
                f">= {LEAST_LOOKS_AFTERWARDS}",
                afterwards >= LEAST_LOOKS_AFTERWARDS,
            ),
            Row("answers 429 to us from a minute after its end", str(late), "0", late == 0),
            Row("most requests of ours in any 60 s", str(most), f"<= {OUR_SHARE}", most <= OUR_SHARE),
        ],
    )


def _shares_beside_another(stage: Stage, budget: Budget) -> list[float]:
    """Send another client's requests evenly, and note our share after each."""
    login = base64.b64encode(f":{API_TOKEN}".encode()).decode()
    signed_in = call("POST", stage.api + "/v1/tokens/exchange", {}, {"Authorization": f"Basic {login}"})
    url = stage.begin("elsewhere", duration_s=LASTING_S)
    shares = []
    until_s = time.monotonic() + OTHER_FOR_S
    while time.monotonic() < until_s:
        with suppress(LocalError):  # its 429s are in the stand-in's log
            call("GET", url, headers={"Authorization": f"Bearer {signed_in['token']}"})
        shares.append(budget.balance("default").share)
        time.sleep(60 / OTHER_A_MINUTE)
    return shares


if __name__ == "__main__":
    sys.exit(run({"neighbour": main}))
