"""The HTTP API: validates requests, calls the domain, answers. Errors are problem+json (RFC 9457)."""
