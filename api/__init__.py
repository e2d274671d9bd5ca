"""The HTTP API: requests validated, handed to the domain, and answered. Errors are problem+json (RFC 9457)."""
