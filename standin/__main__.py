"""`python -m standin`: serves the stand-in Scalingo API until SIGTERM or SIGINT; see `standin.control`."""

import argparse

from standin.api import DEFAULT_TOKENS, ScalingoApi


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser("python -m standin", description="A stand-in Scalingo API.")
    parser.add_argument("--port", type=int, default=8001, help="0 picks a free one (default: %(default)s)")
    parser.add_argument(
        "--token",
        action="append",
        metavar="[ACCOUNT=]TOKEN",
        help="an API token to accept; several are called default, account-2, … (default: tk-us-stand-in)",
    )
    parser.add_argument("--limit", type=int, default=60, help="requests per token in 60 s; 0: no limit (default: 60)")
    arguments = parser.parse_args()
    tokens = _tokens(arguments.token) if arguments.token else DEFAULT_TOKENS
    ScalingoApi(tokens, limit=arguments.limit or None, port=arguments.port).serve_until_signalled()


def _tokens(given: list[str]) -> dict[str, str]:
    tokens: dict[str, str] = {}
    for number, text in enumerate(given, start=1):
        account, named, token = text.rpartition("=")
        tokens[account if named else "default" if number == 1 else f"account-{number}"] = token
    return tokens


if __name__ == "__main__":
    main()
