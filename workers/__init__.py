"""The background: rounds of looks and deliveries as RQ jobs, the clock that rings for them, the worker process."""
