"""The domain: trackings, looks, outcomes, deliveries. It imports neither Flask nor RQ nor an HTTP client."""
