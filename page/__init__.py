"""The page at `/`, for the people who run Opwatch: HTML from the server, and a session instead of a bearer."""
