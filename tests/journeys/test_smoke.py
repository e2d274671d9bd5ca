import time
from tests.support.running import Opwatch
def test_x(own_valkey, scalingo, receiver):
    t=time.monotonic()
    with Opwatch(own_valkey.url, scalingo, receiver) as o:
        print("ready", time.monotonic()-t)
        op = scalingo.operation("shop", outcome="error", error="boom")
        i = o.track(op.url)
        print(o.wait_for_state(i, "failed"), time.monotonic()-t)
        print(receiver.wait_for(2))
        print(receiver.requests[0].headers)
    print("stopped", time.monotonic()-t)
