"""No number changes by accident: small runs come to what they came to with the first version of this code."""

import json
from typing import Any

import pytest
from golden import FILE, RUNS, Golden, here, trained

QUICK = ("pos-rope", "norm-post", "norm-peri", "dropout", "ordered2", "ddp2")
CLOSE = {"bf16": 1e-2}
"""largest relative difference of a loss on another CPU, where it is not 1e-6"""
EXPECTED: dict[str, Any] = json.loads(FILE.read_text())


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.slow, id=name) for name in RUNS],
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Golden]:
    """Name and outcome of a run."""
    return request.param, trained(tmp_path_factory.mktemp("golden"), request.param)


def test_losses_are_what_they_were(run: tuple[str, Golden]) -> None:
    name, golden = run
    before = EXPECTED["runs"][name]
    for kind in ("train_loss", "val_loss"):
        assert getattr(golden, kind) == pytest.approx(before[kind], rel=CLOSE.get(name, 1e-6)), kind


def test_every_bit_is_what_it_was(run: tuple[str, Golden]) -> None:
    name, golden = run
    if here() != EXPECTED["made_on"]:
        pytest.skip(f"bits were noted on {EXPECTED['made_on']}, this is {here()}")
    assert vars(golden) == EXPECTED["runs"][name]
