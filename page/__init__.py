"""The page at `/`, for the operators of Opwatch: HTML from the server, with a session instead of a bearer."""
