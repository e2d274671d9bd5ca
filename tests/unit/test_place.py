"""What messages add to the name of an app, so that two of the same name differ."""

import pytest

from api.addresses import place
from config.settings import load
from operations.kind import Kind
from scalingo.address import Address
from tests.unit.strategies import OPERATION_ID

ENVIRON = {"REDIS_URL": "redis://127.0.0.1:1/0", "OPWATCH_TOKENS": "0" * 24}


@pytest.mark.parametrize(
    ("accounts", "region", "account", "said"),
    [
        (("",), "osc-fr1", "default", ""),
        (("",), "osc-secnum-fr1", "default", "osc-secnum-fr1"),
        (("_AGENCY",), "osc-fr1", "agency", ""),
        (("", "_AGENCY"), "osc-fr1", "default", ""),
        (("", "_AGENCY"), "osc-fr1", "agency", "agency"),
        (("", "_AGENCY"), "osc-secnum-fr1", "agency", "agency in osc-secnum-fr1"),
    ],
)
def test_account_and_region_are_named_unless_they_are_the_default(
    accounts: tuple[str, ...], region: str, account: str, said: str
) -> None:
    settings = load({**ENVIRON, **{f"SCALINGO_API_TOKEN{name}": "tk-us-x" for name in accounts}})
    assert place(Address(region=region, kind=Kind.OPERATION, thing_id=OPERATION_ID), account, settings) == said
