"""The `tune` of a study file: fields with the values that every variant is tried with, `seeds` and `extend`."""

from collections.abc import Mapping
from typing import Any

from gpt.errors import InputError
from gpt.study.spec import Tune
from gpt.study.tuning import FIRST_SEED, rises
from gpt.yaml_file import Document, parse

MOST_TRIALS = 100
"""seeds of a trial"""


def read_tune(given: Mapping[str, Any] | None, taken: Mapping[str, str], document: Document) -> Tune | None:
    """`{optim.lr: [1.0e-3, 2.0e-3], seeds: 3, extend: true}`; several fields are tried in every combination.

    Args:
        taken: fields that the study varies in another way, and how.

    Raises:
        InputError: names the line, the key, what was got and what must hold.
    """
    if given is None:
        return None
    fields = {key: values for key, values in given.items() if key not in ("seeds", "extend")}
    where = document.where(("tune",))
    if not fields:
        raise InputError(f"{where}: tune: names no field, must hold one and its values, as optim.lr: [1.0e-3, 2.0e-3]")
    extend = given.get("extend", False)
    for key, values in fields.items():
        place = document.where(("tune", key))
        if key in taken:
            raise InputError(f"{place}: {key} is {taken[key]}; a field that is tuned must be another")
        if not isinstance(values, list) or len(values) < 2 or any(isinstance(v, list | dict) for v in values):
            raise InputError(f"{place}: tune.{key}: got {values!r}, must be a list of at least 2 values")
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values) and not rises(tuple(values)):
            raise InputError(f"{place}: tune.{key}: got {values}, must rise, so that its ends can be told")
    if not isinstance(extend, bool):
        raise InputError(f"{document.where(('tune', 'extend'))}: tune.extend: got {extend!r}, must be true or false")
    seeds = _seeds(given, document)
    return parse(Tune, {"grid": fields, "seeds": seeds, "extend": extend}, where)


def _seeds(given: Mapping[str, Any], document: Document) -> list[int]:
    """Those that follow `FIRST_SEED`, or the ones that are listed."""
    seeds = given.get("seeds")
    listed = list(range(FIRST_SEED, FIRST_SEED + seeds)) if type(seeds) is int and seeds <= MOST_TRIALS else seeds
    if not isinstance(listed, list) or not listed or any(type(s) is not int or s < 0 for s in listed):
        raise InputError(
            f"{document.where(('tune', 'seeds'))}: tune.seeds: got {seeds!r}, must be how many seeds each trial has, "
            f"from 1 to {MOST_TRIALS}, or a list of them"
        )
    if len(set(listed)) < len(listed):
        raise InputError(f"{document.where(('tune', 'seeds'))}: tune.seeds: {listed} hold a duplicate")
    return listed
