"""Everything that is kept in Redis. Nothing else in `operations/` imports redis.

`Redis` and `RedisError` are for those parts that pass on a connection, or answer for Redis while it is away.
"""

from redis import Redis, RedisError

__all__ = ["Redis", "RedisError"]
