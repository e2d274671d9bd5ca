"""The stand-in Scalingo API behaves as other tests expect; over real HTTP on loopback."""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import RemoteDisconnected

import pytest

from standin import faults
from standin.api import ScalingoApi
from tests.support import caller
from tests.support.caller import EXCHANGE, basic, call

TOKEN = "tk-us-test"  # noqa: S105 - of the stand-in


@dataclass
class Clock:
    """A clock that the test sets."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def sign_in(api: ScalingoApi, token: str = TOKEN) -> str:
    """Return the Authorization header for a new bearer."""
    return caller.sign_in(api.url, token)


@pytest.fixture
def clock() -> Clock:
    """Return a clock at some fixed time."""
    return Clock()


@pytest.fixture
def api(clock: Clock) -> Iterator[ScalingoApi]:
    """Serve a Scalingo API whose time is the test's."""
    with ScalingoApi({"default": TOKEN, "other": "tk-us-other"}, clock=clock) as running:
        yield running


class TestScalingoSignIn:
    """Exchange, bearers and their end."""

    def test_a_bearer_says_whose_it_is_and_lives_an_hour(self, api: ScalingoApi, clock: Clock) -> None:
        payload = sign_in(api).split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        assert (claims["account"], claims["iat"], claims["exp"]) == ("default", clock.now, clock.now + 3600)

    @pytest.mark.parametrize("auth", ["", basic("tk-us-wrong"), basic(TOKEN, "user"), "Basic ?", f"Bearer {TOKEN}"])
    def test_a_wrong_api_token_is_refused(self, api: ScalingoApi, auth: str) -> None:
        answer = call(api.url + EXCHANGE, "POST", auth=auth)
        assert (answer.status, answer.json()) == (401, {"error": "Invalid credentials"})

    def test_a_bearer_expires(self, api: ScalingoApi, clock: Clock) -> None:
        operation = api.operation()
        bearer = sign_in(api)
        clock.now += 3599
        assert call(operation.url, auth=bearer).status == 200
        clock.now += 1
        assert call(operation.url, auth=bearer).json() == {"error": "Invalid credentials"}

    def test_bearers_can_be_expired_at_once_and_renewed(self, api: ScalingoApi) -> None:
        operation = api.operation()
        bearer = sign_in(api)
        api.expire_bearers()
        assert call(operation.url, auth=bearer).status == 401
        assert call(operation.url, auth=sign_in(api)).status == 200
        assert [seen.account for seen in api.requests] == ["default"] * 4

    def test_an_unknown_bearer_is_refused(self, api: ScalingoApi) -> None:
        assert call(api.operation().url, auth="Bearer nonsense").status == 401
        assert api.requests[0].account is None


class TestScalingoOperations:
    """An operation's body over time."""

    def test_it_is_pending_then_running_then_done(self, api: ScalingoApi, clock: Clock) -> None:
        handle = api.operation("shop", pending_s=1, duration_s=5)
        bearer = sign_in(api)
        common = {"id": handle.id, "type": "restart", "created_at": "2023-11-14T22:13:20.000Z", "message": None}
        seen = []
        for elapsed_s in (0, 1, 5):
            clock.now = 1_700_000_000 + elapsed_s
            seen.append(call(handle.url, auth=bearer).json()["operation"])
        assert len({body.pop("app_id") for body in seen}) == 1
        assert seen == [
            common | {"status": "pending"},
            common | {"status": "running"},
            common | {"status": "done", "finished_at": "2023-11-14T22:13:25.000Z"},
        ]

    def test_a_failed_one_says_why(self, api: ScalingoApi) -> None:
        handle = api.operation(outcome="error", error="no boot", extra={"start_one_off_data": {}})
        body = call(handle.url, auth=sign_in(api)).json()["operation"]
        assert (body["status"], body["error"], body["start_one_off_data"]) == ("error", "no boot", {})
        assert body["finished_at"] == "2023-11-14T22:13:20.000Z"

    def test_it_can_be_finished_by_hand(self, api: ScalingoApi, clock: Clock) -> None:
        handle = api.operation(duration_s=None)
        bearer = sign_in(api)
        clock.now += 1800
        assert call(handle.url, auth=bearer).json()["operation"]["status"] == "running"
        api.finish(handle.id, "error", "gone")
        assert call(handle.url, auth=bearer).json()["operation"]["error"] == "gone"

    @pytest.mark.parametrize("action", ["restart", "scale"])
    def test_a_restart_or_scale_begins_one(self, api: ScalingoApi, action: str) -> None:
        bearer = sign_in(api)
        begun = call(f"{api.url}/v1/apps/shop/{action}", "POST", auth=bearer, body={"containers": []})
        assert (begun.status, begun.json()) == (202, {})
        assert begun.headers["Location"].startswith(f"{api.url}/v1/apps/shop/operations/")
        assert call(begun.headers["Location"], auth=bearer).json()["operation"]["type"] == action

    def test_what_does_not_exist_is_404_of_two_kinds(self, api: ScalingoApi) -> None:
        bearer = sign_in(api)
        foreign = api.operation("shop").url.replace("/shop/", "/blog/")
        for url in (foreign, f"{api.url}/v1/apps/shop/operations/{'0' * 24}"):
            assert call(url, auth=bearer).json() == {"resource": "operation", "error": "not found"}
        for path in ("/v1/nowhere", "/v1/apps/shop/operations", "/v1/apps/shop/restart"):
            answer = call(api.url + path, auth=bearer)
            assert (answer.status, answer.json()["url"], "message" in answer.json()) == (404, path, True)


class TestScalingoLimit:
    """The limit of requests per API token in any 60 s."""

    def test_the_61st_request_in_60_s_is_refused_in_plain_text(self, api: ScalingoApi, clock: Clock) -> None:
        url, bearer = api.operation().url, sign_in(api)
        for _ in range(59):
            assert call(url, auth=bearer).status == 200
            clock.now += 1
        refused = call(url, auth=bearer)
        assert (refused.status, refused.text, "Retry-After" in refused.headers) == (429, "Retry later", False)
        assert refused.headers["Content-Type"].startswith("text/plain")
        assert call(api.url + EXCHANGE, "POST", auth=basic(TOKEN)).status == 429
        assert call(url, auth=sign_in(api, "tk-us-other")).status == 200
        clock.now += 1
        assert call(url, auth=bearer).status == 200
        assert api.rate_limited == 2

    def test_it_can_be_changed_and_switched_off(self, api: ScalingoApi) -> None:
        url, bearer = api.operation().url, sign_in(api)
        api.configure(limit=1)
        assert call(url, auth=bearer).status == 429
        api.configure(limit=None)
        assert {call(url, auth=bearer).status for _ in range(70)} == {200}


class TestScalingoFaults:
    """Each fault, and the requests that get it."""

    @pytest.mark.parametrize(
        ("fault", "status", "text"),
        [
            (faults.internal_error(), 500, """{"error":"Internal error occured, we're on it!"}"""),
            (faults.forbidden("no", "c"), 403, '{"error":"no","code":"c"}'),
            (faults.payment_required(), 402, '"url":"https://'),
            (faults.unauthorized(), 401, '{"error":"Invalid credentials"}'),
            (faults.operation_not_found(), 404, '{"resource":"operation","error":"not found"}'),
            (faults.unknown_route(), 404, '"message":'),
            (faults.html(), 200, "<!DOCTYPE html>"),
            (faults.not_json(), 200, '{"operation":{"id":"54'),
            (faults.wrong_shape(), 200, "[]"),
            (faults.wrong_shape({"operation": None}), 200, '{"operation":null}'),
            (faults.rate_limited(), 429, "Retry later"),
            (faults.answer(503, "away"), 503, "away"),
        ],
    )
    def test_wrong_answers(self, api: ScalingoApi, fault: faults.Fault, status: int, text: str) -> None:
        handle, bearer = api.operation(), sign_in(api)
        api.fault(fault)
        answer = call(handle.url, auth=bearer)
        assert (answer.status, text in answer.text) == (status, True)
        assert call(handle.url, auth=bearer).json()["operation"]["id"] == handle.id
        assert [(seen.status, seen.operation_id) for seen in api.requests[1:]] == [
            (status, handle.id),
            (200, handle.id),
        ]

    def test_a_rate_limit_may_say_when_to_come_back(self, api: ScalingoApi) -> None:
        api.fault(faults.rate_limited(retry_after_s=3))
        assert call(api.operation().url).headers["Retry-After"] == "3"
        assert api.rate_limited == 1

    def test_a_reset_is_an_rst(self, api: ScalingoApi) -> None:
        api.fault(faults.reset())
        with pytest.raises(ConnectionResetError) as caught:
            call(api.operation().url)
        assert not isinstance(caught.value, RemoteDisconnected)
        assert api.requests[0].status == "reset"

    def test_a_hang_ends_without_an_answer(self, api: ScalingoApi) -> None:
        api.fault(faults.hang(30))
        api.fault(faults.hang(0.05))
        with pytest.raises(TimeoutError):
            call(api.operation().url, timeout_s=0.1)
        with pytest.raises(RemoteDisconnected):
            call(api.operation().url)
        assert [seen.status for seen in api.requests] == ["hung", "hung"]

    def test_a_slow_or_dripping_answer_is_right(self, api: ScalingoApi) -> None:
        handle, bearer = api.operation(duration_s=None), sign_in(api)
        api.fault(faults.drip(0.001))
        api.fault(faults.slow(0.1))
        for least_s in (0.15, 0.1):
            started = time.monotonic()
            assert call(handle.url, auth=bearer).json()["operation"]["status"] == "running"
            assert time.monotonic() - started >= least_s

    def test_only_the_requests_meant_meet_it_and_so_often_as_asked(self, api: ScalingoApi) -> None:
        shop, blog, bearer = api.operation("shop"), api.operation("blog"), sign_in(api)
        api.fault(faults.internal_error(), exchange=True)
        api.fault(faults.html(), operation_id=shop.id, times=2)
        api.fault(faults.forbidden(), app="blog", times=None)
        assert [call(shop.url, auth=bearer).text[0] for _ in range(3)] == ["<", "<", "{"]
        assert {call(blog.url, auth=bearer).status for _ in range(5)} == {403}
        assert call(api.url + EXCHANGE, "POST", auth=basic(TOKEN)).status == 500
        api.clear_faults()
        assert call(blog.url, auth=bearer).status == 200


def test_it_comes_back_on_the_same_port_with_its_state(api: ScalingoApi) -> None:
    handle, bearer = api.operation(), sign_in(api)
    for _ in range(3):
        api.stop()
        with pytest.raises(ConnectionRefusedError):
            call(handle.url, auth=bearer)
        api.start()
        assert call(handle.url, auth=bearer).status == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("operations", {"duration": 5}, 422, "duration"),
        ("operations", {"duration_s": "soon"}, 422, "duration_s"),
        ("operations", [], 422, "mapping"),
        ("operations", b"{", 422, "error"),
        ("nothing", {}, 404, "nothing"),
    ],
)
def test_a_wrong_control_request_is_told_why(api: ScalingoApi, path: str, body: object, status: int, says: str) -> None:
    answer = call(f"{api.url}/_standin/{path}", "POST", body=body)
    assert (answer.status, says in answer.text) == (status, True), answer.text
    assert api.requests == ()
