"""`python -m standin`: serves the stand-in Scalingo API until SIGTERM or SIGINT."""

import argparse

from standin.api import ScalingoApi


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser("python -m standin", description="A stand-in Scalingo API.")
    parser.add_argument("--port", type=int, default=8001, help="0 picks a free one (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=60, help="requests per token in 60 s; 0: no limit (default: 60)")
    arguments = parser.parse_args()
    ScalingoApi(limit=arguments.limit or None, port=arguments.port).serve_until_signalled()


if __name__ == "__main__":
    main()
