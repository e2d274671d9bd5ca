"""Everything that is stored in Redis. No other part of `operations/` imports redis.

`Redis` and `RedisError` are for parts that only pass a connection on, or answer requests while Redis is away.
"""

from redis import Redis, RedisError

__all__ = ["Redis", "RedisError"]
