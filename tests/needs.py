"""What a machine may lack: tests that need it are skipped, or fail where it was said to be there."""

import os
from typing import NoReturn

import pytest


def go_without(what: str, why: str) -> NoReturn:
    """End a test whose machine lacks something.

    Args:
        what: one word; those in the variable GPT_TEST_NEEDED must not be lacked.
    """
    end = pytest.fail if what in os.environ.get("GPT_TEST_NEEDED", "").split() else pytest.skip
    end(f"no {what}: {why}")
    raise AssertionError("both end the test")
