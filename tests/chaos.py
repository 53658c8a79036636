"""What became of all injected faults, as JSON and for a reader."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from tally import Tally, merged

from gpt.records.manifest import write_manifest
from gpt.runner.stack import describe_hardware, describe_source, describe_stack

SAFEGUARDS = "a safeguard taken out, which the tests must notice"
"""no fault of the machine's, and counted apart"""
WAIT = "longest wait, seconds"
BEGIN, END = "<!-- faults:begin -->", "<!-- faults:end -->"


class Chaos:
    """Collects from the reports of finished tests, those of other processes among them."""

    def __init__(self) -> None:
        self.tallies: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        """by class of fault"""
        self.measured: dict[str, Any] = {}

    def take(self, report: pytest.TestReport) -> None:
        """What a test left in its properties: a tally, the fault that it is as a whole, or a measurement."""
        said = dict(report.user_properties)
        if report.when == "teardown" and "faults" in said:
            self.tallies[said["faults"]["class"]].append(said["faults"])
        if report.when != "call" or report.skipped:
            return
        if "measured" in said:
            self.measured |= said["measured"]
        if "fault" in said:
            tally = Tally(full=True)
            tally.injected, tally.survived = 1, int(report.passed)
            for key, value in report.user_properties:
                if key == "saw":
                    tally.saw(*value)
            self.tallies[said["fault"]].append(tally.as_json())

    def write(self, path: Path, failed: int, seconds: float) -> None:
        """`path`, a page beside it, and a manifest of both."""
        torch.set_num_threads(1)
        classes = {name: merged(self.tallies[name]) for name in sorted(self.tallies)}
        safeguards = classes.pop(SAFEGUARDS, merged([]))
        written = {
            "total": merged(list(classes.values())),
            "tests failed": failed,
            "seconds": round(seconds),
            "classes": classes,
            "safeguards": {"taken out": safeguards["injected"], "noticed": safeguards["survived"]},
            "measured": self.measured,
            "source": describe_source(),
            "stack": describe_stack(torch.device("cpu")),
            "hardware": describe_hardware(torch.device("cpu")),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(written, indent=2) + "\n")
        page = path.with_suffix(".md")
        page.write_text(_page(written))
        write_manifest(path.parent, [path, page])


def _page(written: dict[str, Any]) -> str:
    total = written["total"]
    lines = [
        "# Faults",
        "",
        f"`make chaos` injected {total['injected']:,} faults of {len(written['classes'])} classes, of which "
        f"{total['survived']:,} were survived, in {written['seconds']} s on {written['hardware']['cores']} cores "
        f"({written['hardware']['cpu']}). Survived: nothing that was committed was lost or changed, what was corrupt "
        "was named and not used and, wherever a run could go on, it ended with the files of an undisturbed one, byte "
        "for byte.",
        "",
        "| fault | injected | survived | worst that was seen |",
        "| --- | ---: | ---: | --- |",
    ]
    for name, tally in written["classes"].items():
        worst = "; ".join(f"{what}: {value:g}" for what, value in tally["worst"].items())
        lines.append(f"| {name} | {tally['injected']:,} | {tally['survived']:,} | {worst} |")
    safeguards = written["safeguards"]
    lines += ["", f"- safeguards taken out of the code, one at a time: {safeguards['taken out']}, of which the tests"
              f" noticed {safeguards['noticed']}"]  # fmt: skip
    lines += [f"- {what}: {value}" for what, value in written["measured"].items()]
    return "\n".join(lines).rstrip() + "\n"


def sentence(written: dict[str, Any]) -> str:
    """What docs/fault-tolerance.md says of it."""
    total, classes = written["total"], written["classes"]
    longest = max(classes, key=lambda name: classes[name]["worst"].get(WAIT, 0.0))
    return (
        f"The last time, with version {written['source']['gpt']}, **{total['survived']:,} of "
        f"{total['injected']:,} faults in {len(classes)} classes were\nsurvived**, in {written['seconds']} s; at most "
        f"{total['worst']['steps trained again']:g} steps were trained again, where checkpoints lie 4 steps apart; the "
        f"longest wait was\n{total['worst'][WAIT]:g} s ({longest}): [all classes](../results/faults/faults.md)."
    )


def update(readme: Path, written: dict[str, Any]) -> None:
    """Write that sentence between its marks."""
    text = readme.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{readme} must hold {BEGIN}"
    assert end, f"{readme} must hold {END}"
    readme.write_text(f"{before}{BEGIN}\n{sentence(written)}\n{END}{after}")


if __name__ == "__main__":
    update(Path(sys.argv[2]), json.loads(Path(sys.argv[1]).read_text()))
