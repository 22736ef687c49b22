"""The device on which a test trains: the processor, and a card where there is one. Both run the same bodies."""

import os

import pytest


@pytest.fixture(scope="session")
def processor() -> dict[str, str]:
    """The environment of processes that train on the processor, whatever cards there are."""
    return dict(os.environ) | {"CUDA_VISIBLE_DEVICES": "-1"}


@pytest.fixture(scope="session", params=["processor", pytest.param("card", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of processes that train on one device or the other."""
    environment: dict[str, str] = request.getfixturevalue(request.param)
    return environment
