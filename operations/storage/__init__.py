"""Everything that is kept in Redis. Nothing else in `operations/` imports redis."""
