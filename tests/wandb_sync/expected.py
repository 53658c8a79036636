"""What W&B must hold of a run, read from its files the plain way."""

import math
from typing import Any

from commands import rows_of

from gpt.records.files import read_json
from gpt.records.run_folder import RunFolder, load_arrays

NOT_NUMBERS = ("attention", "sample", "long_range", "events", "_step", "_runtime", "_timestamp", "_wandb")
"""what keys of W&B's history begin with that are not the records' numbers"""
HEADS = (
    "attention_entropy", "attention_distance", "attention_previous", "attention_first", "attention_induction",
    "attention_logit_max",
)  # fmt: skip
"""probe arrays by layer and head"""


def expected_rows(run: RunFolder) -> list[dict[str, float]]:
    """Each row with its lists and its step's probe arrays taken apart by hand."""
    layers = read_json(run.run_json)["layers"]
    expected = []
    for row in rows_of(run):
        flat: dict[str, float] = {}
        for key, value in row.items():
            if key == "grad/layer_norm":
                for layer, norm in zip(layers, value, strict=True):
                    flat[f"grad/layer_norm/{layer}"] = norm
            else:
                flat[key] = value
        if row["step"] in run.probe_steps():
            arrays = load_arrays(run.probe_file(row["step"]))
            for name in HEADS:
                for layer, heads in enumerate(arrays[name]):
                    for head, value in enumerate(heads):
                        flat[f"probe/{name}/layer {layer}/head {head}"] = float(value)
            stream = ["embedding", *(layer for layer in layers if layer.startswith("layer "))]
            for name in ("residual_rms", "residual_max", "residual_kurtosis"):
                for layer, value in zip(stream, arrays[name], strict=True):
                    flat[f"probe/{name}/{layer}"] = float(value)
            for layer, share in zip(stream[1:], arrays["dead_share"], strict=True):
                flat[f"probe/dead_share/{layer}"] = float(share)
            for layer, ratio in zip(layers, arrays.get("update_ratio", []), strict=False):
                flat[f"probe/update_ratio/{layer}"] = float(ratio)
        expected.append({key: math.nan if value is None else value for key, value in flat.items()})
    return expected


def same(got: list[dict[str, Any]], expected: list[dict[str, float]]) -> None:
    """Equal keys and equal numbers, row by row; NaN equals NaN."""
    assert len(got) == len(expected)
    for row, reference in zip(got, expected, strict=True):
        assert row.keys() == reference.keys()
        for key, value in reference.items():
            assert row[key] == value or (math.isnan(row[key]) and math.isnan(value)), (reference["step"], key)
