"""The comparison for intake: a minimal Flask app, alone and with one Lua call of the size of ours."""

import os
from itertools import count

import redis
from flask import Flask, request

RECORD = b"x" * 450
NOW = 1_700_000_000_000
SCRIPT = """
local found = redis.call('GET', KEYS[1])
if found then
  return found
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[3])
redis.call('HINCRBY', KEYS[4], 'default', 1)
return false
"""


def create_app() -> Flask:
    """Build an app of two routes, without checks and logs."""
    app = Flask("bare")
    store = redis.Redis.from_url(os.environ["REDIS_URL"]).register_script(SCRIPT)
    numbers = count()

    @app.get("/hello")
    def hello() -> str:
        return "{}\n"

    @app.post("/script")
    def script() -> tuple[str, int]:
        request.get_data(cache=False)
        number = next(numbers)
        member = f"osc-fr1-{os.getpid():08x}{number:016x}"
        store(keys=[f"bare:{member}", "bare:due", "bare:recent", "bare:in-flight"], args=[RECORD, NOW + number, member])
        return "{}\n", 202

    return app
