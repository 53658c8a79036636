import math
import re

import matplotlib
import numpy as np
import pytest
import synthetic
from pages import unpacked
from reported import clean_outcome, unprobed
from test_figures import ROWS
from test_png import pixels

from gpt.analysis.findings import Findings
from gpt.report.build import build_report
from gpt.report.figures.spec import COLORS
from gpt.report.pages.noise_scale import sequences


def parts_of(run):
    """Two parts of a batch of 4 whose norms differ from seed to seed, and more with the second variant."""
    wobble = 0.005 * run.seed + (0.1 if run.variant is None else 0)
    return lambda step: (1.1 + wobble + 0.001 * (step % 5), 1.3)


def noisy_parts_of(run):
    """Parts so long that |G|^2 seems negative: of two seeds in quarter 1, of all in quarter 2, of one in quarter 4."""
    negative, near_zero, positive = (1.5, 1.5), (1.4, 1.42), (1.1, 1.2)
    quarters = {
        0: (negative, negative, positive, negative),
        1: (negative, negative, positive, positive),
        2: (near_zero, negative, positive, positive),
    }[run.seed]
    return lambda step: quarters[(step - 1) // 10]


def outcome_with(parts):
    def outcome(run):
        found = clean_outcome(run)
        found.parts = parts(run)
        return found

    return unprobed(outcome)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A study in which |G|^2 is easily told from 0, and one in which it is not."""
    found = {}
    for name, parts in (("quiet", parts_of), ("loud", noisy_parts_of)):
        planned = synthetic.study(name=name, variants=[0.5, None])
        found[name] = synthetic.write_study(tmp_path_factory.mktemp(name), planned, outcome_with(parts))
        build_report(found[name])
    return found


def section_of(folder):
    return (folder.report / "report.md").read_text().split("## Gradient noise scale\n", 1)[1].split("\n## ")[0]


def rows_of(section):
    lines = [line for line in section.splitlines() if line.startswith("|") and "---" not in line]
    return [[run.strip() for run in line.split("|")[1:-1]] for line in lines]


def test_the_table_has_every_variant_and_quarter_with_interval_and_number_of_runs(noisy):
    header, *rows = rows_of(section_of(noisy["quiet"]))
    quarters = ["first quarter", "second quarter", "third quarter", "last quarter", "all steps"]
    assert header == ["", *quarters, "batch, in parts", "n"]
    variants = Findings.read(noisy["quiet"].findings).settings[0].variants
    assert [row[0] for row in rows] == ["0.5", "off"]
    for row, variant in zip(rows, variants, strict=True):
        assert row[-2:] == ["4, in 2", "3"]
        for run, stretch in zip(row[1:6], variant.noise_scale.stretches, strict=True):
            assert 0 < stretch.scale.low < stretch.scale.estimate < stretch.scale.high
            ends = f"[{sequences(stretch.scale.low)}, {sequences(stretch.scale.high)}]"
            assert run == f"{sequences(stretch.scale.estimate)} {ends}"


def test_the_section_says_how_to_read_it_and_where_it_is_from(noisy):
    section = section_of(noisy["quiet"])
    assert "doubling it nearly halves the steps" in section
    assert "McCandlish et al. 2018" in section
    page = (noisy["quiet"].report / "report.md").read_text()
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert headings[headings.index("Gradient noise scale") - 1] == "What else the records show"


def test_what_is_not_determined_is_said_and_not_left_out(noisy):
    _, row, _ = rows_of(section_of(noisy["loud"]))
    stretches = Findings.read(noisy["loud"].findings).settings[0].variants[0].noise_scale.stretches
    assert row[1] == f"not determined, above {sequences(stretches[0].scale.low)}"
    assert row[2] == "not determined"
    assert row[3].endswith("]")
    assert "no bound" not in row[3]
    assert row[4] == f"{sequences(stretches[3].scale.estimate)} [{sequences(stretches[3].scale.low)}, no bound]"
    assert row[-1] == "3"


def test_studies_without_the_norms_have_no_section_and_no_figure(reported):
    for folder in (reported.clean, reported.messy):
        assert "noise scale" not in reported.page(folder)
        assert not list(folder.report.glob("figures/*noise.png"))


def test_every_setting_has_its_table_and_a_variant_that_always_failed_a_dash(tmp_path):
    def outcome(run):
        found = outcome_with(parts_of)(run)
        if run.variant is None:
            found.state, found.why, found.nan_at = "diverged", "train/loss not finite at step 30", 30
        return found

    settings = {"optim.lr": [1e-3, 3e-3]}
    folder = synthetic.write_study(tmp_path, synthetic.study(variants=[0.5, None], settings=settings), outcome)
    build_report(folder)
    section = section_of(folder)
    assert re.findall(r"^### (.*)$", section, re.MULTILINE) == ["optim.lr = 0.001", "optim.lr = 0.003"]
    assert [row[1:] for row in rows_of(section) if row[0] == "off"] == [["-"] * 5 + ["4, in 2", "0"]] * 2


def test_the_number_of_runs_is_named_where_a_quarter_has_fewer(tmp_path):
    def parts(run):
        return lambda step: (None, 1.2) if run.seed == 1 and step <= 10 else (1.1 + 0.01 * run.seed, 1.2)

    folder = synthetic.write_study(tmp_path, synthetic.study(), outcome_with(parts))
    build_report(folder)
    _, row, _ = rows_of(section_of(folder))
    assert row[1].endswith("] (2 runs)")
    assert [run.endswith("]") for run in row[2:6]] == [True] * 4


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (5.2, "5.20"), (99.94, "99.9"), (99.96, "100"), (12345.6, "12,346")]
)
def test_noise_scales_are_shown_to_three_digits_and_never_with_an_exponent(value, text):
    assert sequences(value) == text


def test_the_figure_shows_every_variant_in_its_colour(noisy):
    for folder in noisy.values():
        files = {file.stem for file in folder.report.glob("figures/*.png")}
        assert files == ROWS | {"paired", "power", "noise"}
        image = pixels((folder.report / "figures" / "noise.png").read_bytes())[:, :, :3]
        for index in range(2):
            rgb = np.array(matplotlib.colors.to_rgb(COLORS[index]))
            assert (np.abs(image - rgb).max(axis=2) < 0.01).sum() > 20
    caption = (noisy["quiet"].report / "report.md").read_text().split("### Gradient noise scale during training")[1]
    assert "3 runs with `0.5` and 3 runs with `off`" in caption.split("###")[0]


def test_a_figure_without_any_determined_window_says_so(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), outcome_with(lambda run: lambda step: (1.5, 1.5)))
    build_report(folder)
    assert (folder.report / "figures" / "noise.png").stat().st_size > 1000
    page = (folder.report / "report.html").read_text()
    assert "not determined in any window of steps" in unpacked(page, "figures").decode()
    stretches = Findings.read(folder.findings).settings[0].variants[0].noise_scale.stretches
    assert all(math.isnan(stretch.scale.estimate) and math.isfinite(stretch.inverse.mean) for stretch in stretches)
