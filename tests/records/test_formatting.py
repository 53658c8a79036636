"""Claims about numbers as a reader meets them."""

import pytest

from gpt.records.formatting import lasting


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (44.6, "45 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3569, "59 min"),
        (3590, "1 h 00 min"),
        (8100, "2 h 15 min"),
    ],
)
def test_a_duration_is_in_the_unit_that_a_person_would_say(seconds: float, text: str) -> None:
    assert lasting(seconds) == text
