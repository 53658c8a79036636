"""What W&B is shown of a run as a whole: its configuration, tables of what was measured once, a summary."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt.analysis.run_reader import RunReader
from gpt.analysis.summaries import gradient_quantiles
from gpt.config import SOURCES
from gpt.records.catalogue import coordinates
from gpt.records.files import read_json
from gpt.records.jsonl import read_jsonl
from gpt.records.metric import Metric
from gpt.records.run_folder import RunFolder, Status
from gpt.records.schema import EVENTS, LAYER_GRAD_NORM, VAL_LOSS

Table = tuple[list[str], list[list[Any]]]
"""names of the columns, rows"""


def config_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """run.json as a tracker's configuration: the resolved fields, and under `record` how they were computed.

    Of text files only the names leave this machine.
    """
    apart = ("config", "layers", "probe_text", "arrays")
    data = dict(run["config"]["data"])
    for name in (key.rpartition(".")[2] for key in SOURCES):
        data |= {name: Path(data[name]).name} if data.get(name) else {}
    return {
        **run["config"],
        "data": data,
        "record": {key: value for key, value in run.items() if key not in apart},
    }


def tables(reader: RunReader) -> dict[str, Table]:
    """The use of context, from which W&B draws lines, and what happened; without what was not recorded.

    Raises:
        InputError: a file is corrupt.
    """
    shown: dict[str, Table] = {}
    arrays = reader.long_range or {}
    for name, values in arrays.items():
        if entry := reader.arrays.get(name):
            axis = coordinates(entry.axes[0], arrays, len(values))
            rows = [[at, value] for at, value in zip(axis.at, values.tolist(), strict=True)]
            shown[f"long_range/{name}"] = ([axis.title, entry.title], rows)
    if events := _events(reader.folder):
        about = [json.dumps({k: v for k, v in event.items() if k not in ("step", "kind")}) for event in events]
        shown["events"] = (
            ["step", "kind", "about"],
            [[event["step"], event["kind"], text] for event, text in zip(events, about, strict=True)],
        )
    return shown


def summary_of(run: RunFolder, status: Status) -> dict[str, Any]:
    """What a person asks first of a run: how it ended, its lowest validation loss over all rows, what happened.

    With every secondary scalar that has a number (`gpt.analysis.secondary`), and the quantiles of each layer's gradient
    norm where the run came to its end.
    """
    rows = read_jsonl(run.metrics) if run.metrics.exists() else []
    events = Counter(event["kind"] for event in _events(run))
    lowest = Metric(VAL_LOSS, "min").of(rows)
    return {
        "status": status.state,
        "why": status.why,
        "attempts": status.attempts,
        "seconds": status.seconds,
        **{f"events/{kind}": events[kind] for kind in EVENTS},
        **({VAL_LOSS: {"min": lowest}} if math.isfinite(lowest) else {}),
        **_scalars(RunReader(run)),
        "final_weights_sha256": read_json(run.run_json).get("final_weights_sha256"),
    }


def _scalars(record: RunReader) -> dict[str, float]:
    numbers = {f"scalar/{name.replace('.', '/')}": value for name, value in record.secondary.items()}
    quantiles = gradient_quantiles([record]) if record.status.state == "done" else None
    if quantiles is not None:
        for layer, values in zip(record.info["layers"], quantiles.by_layer, strict=True):
            for level, value in zip(quantiles.levels, values, strict=True):
                numbers[f"{LAYER_GRAD_NORM}_quantile/{layer}/{level:.0%}"] = value
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _events(run: RunFolder) -> list[dict[str, Any]]:
    return read_jsonl(run.events) if run.events.exists() else []
