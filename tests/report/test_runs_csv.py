"""Claims about the table of runs."""

import csv
import io

import pytest

from gpt.report.pages.runs_csv import runs_csv


@pytest.fixture
def rows(reported):
    text = (reported.messy.report / "runs.csv").read_text()
    assert text == runs_csv(reported.findings(reported.messy))
    return list(csv.DictReader(io.StringIO(text)))


def test_every_planned_run_has_a_row_with_its_place_and_state(rows):
    assert len(rows) == 20
    places = {(r["model.norm_placement"], r["optim.lr"], r["seed"]): r["state"] for r in rows}
    assert len(places) == 20
    assert places["post", "0.003", "0"] == "diverged"
    assert places["pre", "0.003", "4"] == "planned"


def test_numbers_are_those_of_the_findings_to_the_last_digit_and_missing_ones_empty(rows, reported):
    findings = reported.findings(reported.messy)
    names = [findings.study.metric.name, *(entry.name for entry in findings.secondary)]
    variants = [variant for setting in findings.settings for variant in setting.variants]
    expected = [
        [variant.values[i], *(variant.secondary[entry.name].values[i] for entry in findings.secondary)]
        for variant in variants
        for i in range(len(findings.study.seeds))
    ]
    for row, numbers in zip(rows, expected, strict=True):
        for name, number in zip(names, numbers, strict=True):
            assert row[name] == ("" if number != number else repr(number))
    assert {row["attention_entropy"] for row in rows} == {""}
    assert rows[0]["val/loss.last"] == "2.1"
