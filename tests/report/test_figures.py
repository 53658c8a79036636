"""Claims about what each figure shows, as data; how they are drawn is tested in test_png.py and test_html.py."""

import re
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import reported as reported_studies
import synthetic
from pages import figures_of
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.records.catalogue import Array
from gpt.records.files import read_json, write_json
from gpt.records.formatting import signed
from gpt.records.run_folder import load_arrays, save_arrays
from gpt.report.build import build_report
from gpt.report.figures import catalogue
from gpt.report.figures.attention import LEVELS
from gpt.report.figures.catalogue import INSIDE, draw_all
from gpt.report.figures.sensitivity import strips
from gpt.report.figures.series import probed
from gpt.report.figures.spec import MEAN, Bars, Color, Level, Line, Note, Pick, Points, shown

ROWS = {"loss", "gradients", "gradient-distribution", "clipping"}
NAMES = ROWS | {
    "paired", "long-range", "activations", "updates", "heads-over-training", "scores", "distance", "attention",
    "attention-over-training",
}  # fmt: skip
VARYING = NAMES | {"power"}
"""of a study whose differences vary from seed to seed"""


def draw(tmp_path, planned, outcome=lambda run: Outcome()):
    results = collect(synthetic.write_study(tmp_path, planned, outcome))
    drawn = draw_all(results, build_findings(results))
    assert [each.error for each in drawn] == [""] * len(drawn)
    return {each.file.removesuffix(".png"): each.figure for each in drawn}


def marks(panel, kind, label=None):
    return [mark for mark in panel.marks if isinstance(mark, kind) and (label is None or mark.label == label)]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    results = collect(reported_studies.write_clean(tmp_path_factory.mktemp("clean")))
    findings = build_findings(results)
    return SimpleNamespace(results=results, findings=findings, drawn=draw_all(results, findings))


@pytest.fixture(scope="module")
def figures(clean):
    return {each.entry.name: each.figure for each in clean.drawn}


def test_the_figures_of_the_whole_study_come_first_and_only_where_they_show_something(reported):
    names = [figure.name for figure in reported.findings(reported.messy).figures]
    assert names[:5] == ["sensitivity", "survival", "paired", "power", "loss"]
    assert names.count("sensitivity") == names.count("survival") == 1
    clean = [figure.name for figure in reported.findings(reported.clean).figures]
    assert set(clean) == VARYING
    headings = re.findall(r"^(#+) (.*)$", reported.page(reported.messy).split("\n## Figures\n")[1], re.MULTILINE)
    assert headings[:4] == [
        ("###", "The primary metric at every setting"),
        ("###", "When runs failed"),
        ("###", "Figures at optim.lr = 0.001"),
        ("####", "The primary metric, seed by seed"),
    ]


def test_captions_say_over_how_many_runs(reported):
    for figure in reported.findings(reported.clean).figures:
        assert "3 runs with `0.5` and 3 runs with `off`" in figure.caption or "n = 3 pairs" in figure.caption
    messy = reported.page(reported.messy)
    assert "3 runs with `post`; where a variant has runs that did not fail, those that did are left out" in messy


def test_figures_of_many_variants_can_be_drawn_where_only_some_runs_have_finished(tmp_path):
    values = ["sinusoidal", "rope", "learned", "alibi", "none"]

    def outcome(run):
        last = run.variant == values[-1]
        return Outcome(state="planned" if last or run.seed else "done", first_loss=4 + len(run.variant))

    assert set(draw(tmp_path, synthetic.study("model.position", values), outcome)) == NAMES


def test_figures_can_be_drawn_where_a_variant_always_failed(tmp_path):
    def outcome(run):
        lost = {"state": "diverged", "why": "train/loss not finite at step 30", "nan_at": 30}
        return Outcome(**(lost if run.variant is None else {}))

    drawn = draw(tmp_path, synthetic.study(), outcome)
    assert "3 runs with `1.0` and 3 failed runs with `off`" in drawn["gradients"].caption
    assert "Dotted lines that end in a cross are failed runs." in drawn["loss"].caption
    validation = drawn["loss"].panels[0]
    assert [line.label for line in marks(validation, Line) if line.label] == ["1.0"]  # no mean of the failed ones
    assert [cross.words for cross in marks(validation, Points)] == [[f"off, seed {i} failed"] for i in range(3)]
    (panel,) = drawn["survival"].panels
    assert [(line.label, list(line.y)) for line in marks(panel, Line)] == [("1.0", [100, 100]), ("off", [100, 0, 0])]


def test_without_probes_only_the_figures_of_the_rows_are_drawn(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), reported_studies.clean_outcome)
    for file in [*tmp_path.glob("runs/*/probes/*"), *tmp_path.glob("runs/*/long_range.safetensors")]:
        file.unlink()
    results = collect(folder)
    drawn = draw_all(results, build_findings(results))
    assert {each.entry.name for each in drawn} == ROWS | {"paired", "power"}


def test_old_runs_that_recorded_fewer_arrays_give_the_figures_of_those(tmp_path):
    planned = synthetic.study()
    folder = synthetic.write_study(tmp_path, planned, reported_studies.clean_outcome)
    for file in tmp_path.glob("runs/*/probes/*"):
        arrays = load_arrays(file)
        save_arrays(file, {n: arrays[n] for n in ("residual_rms", "attention_entropy")}, {})
    results = collect(folder)
    drawn = {each.entry.name: each.figure for each in draw_all(results, build_findings(results))}
    assert set(drawn) == ROWS | {"paired", "power", "long-range", "activations", "heads-over-training", "scores"}
    assert [panel.title for panel in drawn["scores"].panels] == ["entropy"]


@pytest.mark.parametrize(
    ("factor", "lacks"),
    [
        ("model.layers", {"heads-over-training": "`1` has no layer 1 and layer 2", "gradients": "`2` has no layer 2"}),
        (
            "model.heads",
            {"scores": "`2` has no head 2 and head 3", "attention": "`1` has no head 1, head 2 and head 3"},
        ),
    ],
)
def test_variants_of_different_shapes_give_every_figure_and_what_one_lacks_is_named(factor, lacks, tmp_path):
    values = [2, 1, 3] if factor == "model.layers" else [2, 1, 4]
    drawn = draw(tmp_path, synthetic.study(factor, values))
    assert set(drawn) == NAMES
    for name, words in lacks.items():
        assert words in drawn[name].caption, name
    layers, heads = (values, [2] * 3) if factor == "model.layers" else ([2] * 3, values)
    for panel in drawn["scores"].panels:
        assert [len(points.y) for points in marks(panel, Points)] == [
            3 * a * b for a, b in zip(layers, heads, strict=True)
        ]
    if factor == "model.layers":
        assert [len(panel.marks) for panel in drawn["distance"].panels] == [3, 2, 1]
        assert [words for _, words in drawn["gradient-distribution"].panels[0].x.ticks] == [
            "embedding", "layer 0", "layer 1", "layer 2", "head"
        ]  # fmt: skip
    stacks = [panel.marks[0].frames[0].mark.values.shape[:2] for panel in drawn["attention"].panels]
    assert stacks == list(zip(layers, heads, strict=True))


def test_a_heatmap_of_one_position_gives_all_figures_but_that_of_distance(tmp_path):
    base = {**synthetic.BASE, "probes": {**synthetic.BASE["probes"], "heatmap_characters": 1}}
    planned = synthetic.study(base=synthetic.parse(synthetic.RunConfig, base, "base").model_dump(mode="json"))
    drawn = draw(tmp_path, planned)
    assert set(drawn) == NAMES - {"distance"}
    (grid, _) = [shown(drawn["attention"])[i].marks[0] for i in range(2)]
    assert grid.values.tolist() == [[1.0]]


def test_an_error_in_one_figure_leaves_that_one_out_and_says_so(tmp_path, monkeypatch, capsys):
    def broken(view):
        raise ValueError("no such <axis>")

    entry = catalogue.Entry("broken", "A broken figure", INSIDE, 15, "-")
    monkeypatch.setitem(catalogue.ENTRIES, entry, broken)
    whole = catalogue.entries()
    monkeypatch.setattr(catalogue, "entries", lambda: [*whole, entry])
    built = build_report(reported_studies.write_clean(tmp_path))
    assert {figure.name for figure in built.findings.figures} == VARYING
    assert {file.stem for file in (built.folder.report / "figures").iterdir()} == VARYING
    (left_out,) = built.findings.left_out_figures
    assert (left_out.name, left_out.setting) == ("broken", "")
    line = broken.__code__.co_firstlineno + 1
    assert left_out.error == f"ValueError: no such <axis> (test_figures.py, line {line})"
    page = (built.folder.report / "report.md").read_text()
    assert "**Left out by an error:** A broken figure (`broken`): ValueError: no such \\<axis\\>" in page
    html = (built.folder.report / "report.html").read_text()
    assert figures_of(html)["figures"]["broken"] == {"0": {"error": left_out.error}}
    assert "gpt: figure broken of clean left out: ValueError" in capsys.readouterr().err


def test_settings_are_laid_out_along_the_first_field_that_varies():
    def setting(**values):
        return SimpleNamespace(setting={key.replace("__", "."): value for key, value in values.items()})

    settings = [setting(optim__lr=lr, optim__clip=clip, seed=3) for lr in (1e-3, 1e-2) for clip in (1.0, None)]
    first, second = strips(settings)
    assert (first.field, first.title, second.title) == ("optim.lr", "optim.clip = 1.0", "optim.clip = off")
    assert first.places == pytest.approx([-3, -2])
    assert first.settings == [settings[0], settings[2]]
    assert strips([setting(optim__lr=1e-3)]) == strips([setting()]) == []
    (words,) = strips([setting(model__norm="layernorm"), setting(model__norm="rmsnorm")])
    assert words.places == [0, 1]


def test_the_metric_and_the_differences_are_the_findings_own(clean, figures):
    slopes, differences = figures["paired"].panels
    for found, points in zip(clean.findings.settings[0].variants, marks(slopes, Points), strict=True):
        assert points.y.tolist() == found.values
        assert points.words[1] == f"{found.label}, seed 1: {found.values[1]:.4f}"
    paired = clean.findings.contrasts[0].paired
    (bars,), (each, mean) = marks(differences, Bars), marks(differences, Points)
    assert each.x.tolist() == paired.differences
    assert (bars.low[0], bars.high[0], mean.x[0]) == (paired.low, paired.high, paired.mean_difference)
    (words,) = (note.text for note in marks(differences, Note) if "\n" in note.text)
    assert words.startswith(f"off: inconclusive\n{signed(paired.mean_difference, 4)} [")


def test_what_failed_is_counted_above_the_numbers(tmp_path):
    results = collect(reported_studies.write_messy(tmp_path))
    drawn = {each.file.removesuffix(".png"): each.figure for each in draw_all(results, build_findings(results))}
    metric, _ = shown(drawn["sensitivity"], {"setting": "1"})
    texts = [note.text for note in marks(metric, Note)]
    assert texts == ["\N{MULTIPLICATION X}\n2 of 5", "failed"]
    highest = max(points.y.max() for points in marks(metric, Points))
    assert highest < metric.y.limits[0] + 0.85 * np.diff(metric.y.limits)[0]
    assert "`pre` is best at optim.lr = 0.003, 2.1050 and" in drawn["sensitivity"].caption
    assert "`post` is best at optim.lr = 0.001, 2.3200" in drawn["sensitivity"].caption


def test_a_layers_quantiles_are_the_findings_and_stand_at_its_name_though_not_all_variants_have_it(tmp_path):
    def outcome(run):
        return Outcome(changes={"layers": synthetic.LAYERS[:2]} if run.variant == "post" else {})

    results = collect(
        synthetic.write_study(tmp_path, synthetic.study("model.norm_placement", ["post", "pre"]), outcome)
    )
    findings = build_findings(results)
    (panel,) = next(d.figure for d in draw_all(results, findings) if d.entry.name == "gradient-distribution").panels
    assert [words for _, words in panel.x.ticks] == ["embedding", "layer 0", "layer 1", "head"]
    for label, found, places in zip(("post", "pre"), findings.settings[0].variants, ([0, 1], [0, 1, 2]), strict=True):
        (medians,) = marks(panel, Points, label)
        assert medians.x.round().tolist() == places
        assert medians.y.tolist() == [levels[2] for levels in found.gradient_quantiles.by_layer[: len(places)]]


@pytest.mark.parametrize("name", ["gradients", "updates"])
def test_a_layer_has_one_colour_though_not_all_variants_have_it(name, tmp_path):
    def outcome(run):
        return Outcome(changes={"layers": synthetic.LAYERS[:2]} if run.variant == "post" else {})

    drawn = draw(tmp_path, synthetic.study("model.norm_placement", ["post", "pre"]), outcome)
    post, pre = [{line.label: line.color for line in panel.marks} for panel in drawn[name].panels]
    assert list(post) == ["embedding", "layer 0"]
    assert list(pre) == ["embedding", "layer 0", "layer 1"]
    assert post == {name: pre[name] for name in post}
    assert pre["layer 0"] == Color("depth", 1, 4)


def test_a_layer_without_a_line_is_named_under_the_figure(figures):
    missing = "Not drawn, for a norm of 0 or none at some step: head with `0.5` and head with `off`."
    assert figures["gradients"].caption.endswith(missing)


def test_a_run_weight_lies_on_the_page_at_a_few_steps_and_the_mean_at_the_last(figures):
    choices = {choice.name: [value for value, _ in choice.options] for choice in figures["attention"].choices}
    assert choices == {
        "run": ["one", MEAN],
        "step": ["0", "20", "40"],
        "layer": [MEAN, "0", "1"],
        "head": [MEAN, "0", "1"],
    }
    for panel in figures["attention"].panels:
        (pick,) = panel.marks
        places = [tuple(frame.when.values()) for frame in pick.frames]
        assert places == [("one", "0"), ("one", "20"), ("one", "40"), (MEAN, "40")]
        assert pick.frames[0].mark.values.shape == (2, 2, 8, 8)
    first = shown(figures["attention"], {"run": "one", "step": "20", "head": "1"})[0]
    assert first.title == "0.5, 3 runs, step 20"
    even = np.where(np.tri(8, dtype=bool), 1 / np.arange(1, 9)[:, None], np.nan)
    assert np.nanmax(np.abs(first.marks[0].values - even)) <= 0.5 / LEVELS + 1e-3
    assert np.isnan(first.marks[0].values).tolist() == np.isnan(even).tolist()


def test_activations_can_be_seen_at_every_probed_step(figures):
    def after(step):
        (line,) = [
            m for m in shown(figures["activations"], {"step": step})[0].marks if m.label.startswith("off") and m.filled
        ]
        return line.label, line.y

    assert after("0")[0] == "off, before training"
    assert after("40")[0] == "off, step 40"
    assert after("40")[1] == pytest.approx(2 * after("0")[1])


def test_every_measure_of_heads_has_its_panels(figures):
    measures = [value for value, _ in figures["heads-over-training"].choices[0].options]
    assert len(measures) == len(figures["scores"].panels) == 6
    for measure in measures:
        assert [panel.variant for panel in shown(figures["heads-over-training"], {"measure": measure})] == [0, 1]


def test_probe_arrays_of_survivors_are_stacked_by_seed(clean):
    ((_, group, steps, ratio_SNL), _) = probed(clean.results.settings[0], "update_ratio")
    assert group.label == "0.5"
    assert steps.tolist() == [20, 40]
    assert ratio_SNL[:, 0, 0] == pytest.approx([1e-2, 5e-3, 1e-2 / 3])


def test_an_array_that_a_probe_declares_gets_its_panels_without_a_word_of_figures_on_it(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome())
    declared = [
        Array(name="gate", title="how open gates are", axes=("layer",), unit="share of gates", meaning="1 is open"),
        Array(name="sharpness", title="sharpness", axes=("layer", "head"), unit="logits", neutral=0.5),
        Array(name="drift", title="drift of the weights", axes=("module",), scale="log", meaning="how far"),
        Array(name="rank", title="rank of the stream", axes=()),
    ]
    for run in tmp_path.glob("runs/*"):
        info = read_json(run / "run.json")
        write_json(run / "run.json", {**info, "arrays": [*info["arrays"], *map(asdict, declared)]})
        for file in run.glob("probes/*"):
            of = {"gate": [0.5, 1.0], "sharpness": [[1, 2], [3, 4]], "drift": [1, 2, 3, 4], "rank": 7.0}
            arrays = {name: np.array(values, dtype=np.float32) for name, values in of.items()}
            save_arrays(file, {**load_arrays(file), **arrays}, {})
    results = collect(folder)
    drawn = {each.entry.name: each.figure for each in draw_all(results, build_findings(results))}
    gate = next(panel for panel in drawn["activations"].panels if panel.title == "how open gates are")
    assert gate.y.label == "%"
    assert [mark.frames[-1].mark.y.tolist() for mark in marks(gate, Pick)] == [[50, 100]] * 2
    assert "how open gates are: 1 is open" in drawn["activations"].caption
    sharpness = next(panel for panel in drawn["scores"].panels if panel.title == "sharpness")
    assert [line.y.tolist() for line in marks(sharpness, Line)] == [[1.5, 3.5]] * 2
    assert [level.at for level in marks(sharpness, Level)] == [0.5]
    for name, measure in (("heads-over-training", "sharpness"), ("updates", "drift")):
        assert measure in dict(drawn[name].choices[0].options)
        assert [panel.variant for panel in shown(drawn[name], {"measure": measure})] == [0, 1]
    (panel,) = drawn["scalars"].panels
    assert [line.y.tolist() for line in marks(panel, Line)] == [[7, 7, 7]] * 2
