"""Numbers of findings.json, where null stands for what is not a finite number."""

import math
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator


def _null_is_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_null_is_nan(item) for item in value]
    if isinstance(value, dict):
        return {key: _null_is_nan(item) for key, item in value.items()}
    return math.nan if value is None else value


T = TypeVar("T")
Measured = Annotated[T, BeforeValidator(_null_is_nan)]
"""numbers, or something that holds nothing but numbers, whose nulls are NaN"""
