"""The background work: rounds of looks and deliveries as RQ jobs, the clock that starts them, the worker process."""
