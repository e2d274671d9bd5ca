"""The first settings: Redis, the callers, and Scalingo's API."""

from collections.abc import Mapping
from functools import cached_property

from pydantic import AliasChoices, Field, SecretStr

from config.reading import FromEnvironment
from config.values import REDIS_OPTIONS, Accounts, BaseUrl, CallerTokens, RedisUrl
from scalingo.address import OFFICIAL_DATABASE_APIS, OFFICIAL_REGIONS


class AccessSettings(FromEnvironment):
    """What Opwatch needs for access: to Redis, to its own API, and to Scalingo's."""

    redis_url: RedisUrl = Field(
        SecretStr(""),
        validation_alias=AliasChoices("REDIS_URL", "SCALINGO_REDIS_URL"),
        examples=["redis://localhost:6379/0", "redis://localhost:6379/0"],
        description="Required, except for `make run`. One Redis 5 or Valkey 7.2, or newer, as `redis://…`, "
        "`rediss://…` or `unix://…` (no Sentinel, no Cluster), with a database of its own. Percent-encode "
        "special characters in the password. The options may be "
        + ", ".join(f"`{name}`" for name in REDIS_OPTIONS)
        + ". `SCALINGO_REDIS_URL` is used if `REDIS_URL` is not set.",
    )
    tokens: CallerTokens = Field(
        {},
        alias="OPWATCH_TOKENS",
        examples=["ci:0123456789abcdef0123456789abcdef,deploy:fedcba9876543210fedcba9876543210"],
        description="Required, except for `make run`. The callers, as `name:token,…`, with tokens of at least 24 "
        "characters, each different. A token without a name belongs to the caller `default`. One written as "
        "`name:token:read` may only read.",
    )
    accounts: Accounts = Field(
        {},
        validation_alias=AliasChoices("SCALINGO_API_TOKEN", "SCALINGO_API_TOKEN_<ACCOUNT>"),
        examples=["tk-us-…", "tk-us-…"],
        description="At least one is required, except for `make run`. `SCALINGO_API_TOKEN` is the API token "
        "(`tk-us-…`) of the account `default`, and `SCALINGO_API_TOKEN_AGENCY` that of the account `agency`.",
    )
    region: str = Field(
        "osc-fr1",
        alias="SCALINGO_REGION",
        pattern=r"^[a-z0-9][a-z0-9-]{0,40}$",
        description="The region of an operation if the request names none. `osc-fr1` and `osc-secnum-fr1` are "
        "always known.",
    )
    api_url: BaseUrl | None = Field(
        None,
        alias="SCALINGO_API_URL",
        examples=["https://api.osc-fr1.scalingo.com"],
        description="The API of the default region, if it is not Scalingo's own.",
    )
    database_api_url: BaseUrl | None = Field(
        None,
        alias="SCALINGO_DB_API_URL",
        examples=["https://db-api.osc-fr1.scalingo.com"],
        description="The database API of the default region, without `/api`, if it is not Scalingo's own.",
    )
    auth_url: BaseUrl = Field(
        "https://auth.scalingo.com",
        alias="SCALINGO_AUTH_URL",
        description="Where API tokens are exchanged for bearer tokens.",
    )
    requests_per_minute: int = Field(
        50,
        alias="SCALINGO_REQUESTS_PER_MINUTE",
        ge=10,
        le=100_000,
        description="The maximum number of requests in any 60 s for each account, at least 10. Scalingo allows 60, but "
        "other clients of the account need some of them.",
    )

    @cached_property
    def regions(self) -> Mapping[str, str]:
        """The API's URL of every region, by name."""
        default = OFFICIAL_REGIONS.get(self.region, f"https://api.{self.region}.scalingo.com")
        return {**OFFICIAL_REGIONS, self.region: self.api_url or default}

    @cached_property
    def database_apis(self) -> Mapping[str, str]:
        """The database API's URL of every region, by name."""
        default = OFFICIAL_DATABASE_APIS.get(self.region, f"https://db-api.{self.region}.scalingo.com")
        return {**OFFICIAL_DATABASE_APIS, self.region: self.database_api_url or default}
