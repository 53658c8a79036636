"""What W&B's library wrote offline, read without it: frames of a log, each a protobuf record."""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 32_768
HEADER = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """One directory that `wandb.init` made."""

    root: Path
    id: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    name: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    exit_code: int | None = None


def offline_runs(folder: Path) -> list[OfflineRun]:
    """Every run below a folder, in the order of their start."""
    return [read_run(path) for path in sorted(folder.glob("offline-run-*/run-*.wandb"))]


def read_run(path: Path) -> OfflineRun:
    from wandb.proto import wandb_internal_pb2 as protobuf

    run = OfflineRun(path.parent)
    for data in _records(path.read_bytes()):
        record = protobuf.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            about = record.run
            run.id, run.project, run.group, run.name = about.run_id, about.project, about.run_group, about.display_name
            run.job_type, run.tags = about.job_type, list(about.tags)
            run.config |= _items(about.config.update)
        elif kind == "history":
            run.history.append(_items(record.history.item))
        elif kind == "summary":
            run.summary |= _items(record.summary.update)
        elif kind == "metric":
            run.metrics.append(record.metric)
        elif kind == "artifact":
            run.artifacts.append(record.artifact.name)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _items(items: Any) -> dict[str, Any]:
    found = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
    return {key: value for key, value in found.items() if key not in ("_wandb", "_runtime", "_timestamp")}


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format; a torn last one, which a killed writer leaves, is passed over."""
    at, parts = HEADER, b""
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        checksum, size, kind = struct.unpack("<IHB", data[at : at + HEADER])
        if left < HEADER or (checksum, size, kind) == (0, 0, 0):
            at += left
            continue
        body = data[at + HEADER : at + HEADER + size]
        if len(body) < size:
            return
        assert zlib.crc32(bytes([kind]) + body) == checksum, f"corrupt at byte {at}"
        at += HEADER + size
        parts = body if kind in (FULL, FIRST) else parts + body
        if kind in (FULL, LAST):
            yield parts
