import re
import struct
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import reported as reported_studies
import synthetic
from matplotlib.figure import Figure
from pages import figures_of
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.findings import GradientQuantiles
from gpt.records.run_folder import load_arrays, save_arrays
from gpt.report.draw import png as style
from gpt.report.figures import by_depth as layers
from gpt.report.figures import gradients
from gpt.report.figures.by_depth import probed
from gpt.report.figures.catalogue import draw_all
from gpt.report.figures.sensitivity import strips
from gpt.report.figures.training import stacked

ROWS = {"loss", "gradients", "gradient-distribution", "clipping"}
NAMES = ROWS | {
    "paired", "long-range", "activations", "updates", "entropy", "scores", "distance", "attention",
    "attention-over-training", "heads",
}  # fmt: skip


def draw(tmp_path, planned, outcome):
    results = collect(synthetic.write_study(tmp_path, planned, outcome))
    return draw_all(results, build_findings(results))


def pixels(data):
    import io

    from matplotlib.image import imread

    return imread(io.BytesIO(data), format="png")


def test_every_figure_is_a_readable_png_with_content_and_of_moderate_size(reported):
    files = sorted(reported.out.glob("studies/*/report/figures/*.png"))
    assert {file.stem for file in files if "clean" in str(file)} == NAMES
    messy = {file.stem for file in files if "messy" in str(file)}
    settings = ("optim.lr-0.001-", "optim.lr-0.003-")
    assert messy == {"sensitivity", "survival"} | {
        b + name for b in settings for name in ROWS | {"paired", "long-range"}
    }
    for file in files:
        data = file.read_bytes()
        assert len(data) < 60_000, file
        width, _ = struct.unpack(">II", data[16:24])
        assert width == round(style.WIDTH * style.DPI)
        image = pixels(data)[:, :, :3]
        codes = (image * 255).astype(np.int64) @ np.array([1, 256, 65536])
        assert len(np.unique(codes)) > 30, file
        assert (image < 0.9).any(axis=2).mean() > 0.005, file


def test_a_variant_has_the_same_colour_in_every_figure_that_tells_variants_apart(reported):
    wanted = [np.array(matplotlib.colors.to_rgb(style.color(i))) for i in range(2)]
    for name in (
        "paired",
        "loss",
        "clipping",
        "activations",
        "gradient-distribution",
        "entropy",
        "scores",
        "long-range",
    ):
        image = pixels((reported.clean.report / "figures" / f"{name}.png").read_bytes())[:, :, :3]
        for rgb in wanted:
            assert (np.abs(image - rgb).max(axis=2) < 0.01).sum() > 20, name


def test_captions_say_over_how_many_runs(reported):
    page = reported.page(reported.clean)
    figures = page.split("## Figures")[1].split("## Samples")[0]
    captions = figures.split("\n### ")[1:]
    assert len(captions) == len(NAMES)
    for caption in captions:
        assert "3 runs with `0.5` and 3 runs with `off`" in caption or "n = 3 pairs" in caption
    messy = reported.page(reported.messy)
    assert "3 runs with `post`; where a variant has runs that did not diverge, those that did are left out" in messy


def test_a_setting_of_the_users_own_changes_no_byte(tmp_path):
    def square(figure):
        figure.subplots().plot([0, 1], [0, 1], label="a")

    plain = style.png(square, 2.0)
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "lines.linewidth": 9}):
        assert style.png(square, 2.0) == plain
        assert matplotlib.rcParams["font.size"] == 30
    assert b"Matplotlib" not in plain


def test_figures_of_many_variants_can_be_drawn_where_only_some_runs_have_finished(tmp_path):
    values = ["sinusoidal", "rope", "learned", "alibi", "none"]

    def outcome(run):
        last = run.variant == values[-1]
        return Outcome(state="planned" if last or run.seed else "done", first_loss=4 + len(run.variant))

    drawn = draw(tmp_path, synthetic.study("model.position", values), outcome)
    assert {figure.file.removesuffix(".png") for figure in drawn} == NAMES


def test_figures_can_be_drawn_where_a_variant_always_diverged(tmp_path):
    def outcome(run):
        lost = {"state": "diverged", "why": "train/loss not finite at step 30", "nan_at": 30}
        return Outcome(**(lost if run.variant is None else {}))

    drawn = {figure.file: figure for figure in draw(tmp_path, synthetic.study(), outcome)}
    assert "3 runs with `1.0` and 3 diverged runs with `off`" in drawn["gradients.png"].caption
    assert "Broken lines that end in a cross are diverged runs." in drawn["loss.png"].caption


def test_without_probes_only_the_figures_of_the_rows_are_drawn(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), reported_studies.clean_outcome)
    for file in [*tmp_path.glob("runs/*/probes/*"), *tmp_path.glob("runs/*/long_range.safetensors")]:
        file.unlink()
    results = collect(folder)
    drawn = draw_all(results, build_findings(results))
    assert {figure.name for figure in drawn} == ROWS | {"paired"}


def test_old_runs_that_recorded_fewer_arrays_give_the_figures_of_those(tmp_path):
    planned = synthetic.study()
    folder = synthetic.write_study(tmp_path, planned, reported_studies.clean_outcome)
    for file in tmp_path.glob("runs/*/probes/*"):
        arrays = load_arrays(file)
        save_arrays(file, {n: arrays[n] for n in ("residual_rms", "attention_entropy")}, {})
    results = collect(folder)
    drawn = {figure.name for figure in draw_all(results, build_findings(results))}
    assert drawn == ROWS | {"paired", "long-range", "activations", "entropy"}


def test_the_figures_of_the_whole_study_come_first_and_only_where_they_show_something(reported):
    names = [figure.name for figure in reported.findings(reported.messy).figures]
    assert names[:4] == ["sensitivity", "survival", "paired", "loss"]
    assert names.count("sensitivity") == names.count("survival") == 1
    clean = [figure.name for figure in reported.findings(reported.clean).figures]
    assert set(clean) == NAMES
    headings = re.findall(r"^(#+) (.*)$", reported.page(reported.messy).split("\n## Figures\n")[1], re.MULTILINE)
    assert headings[:4] == [
        ("###", "The primary metric over `optim.lr`"),
        ("###", "When runs diverged"),
        ("###", "Figures at optim.lr = 0.001"),
        ("####", "The primary metric, seed by seed"),
    ]


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


def test_a_layers_quantiles_stand_at_its_name_though_not_all_variants_have_it():
    def variant(label, names):
        quantiles = GradientQuantiles([], [2.5] * len(names), [[1.0, 2.0, 3.0, 4.0, 5.0]] * len(names))
        return SimpleNamespace(label=label, layers=names, gradient_quantiles=quantiles)

    short, whole = ["embedding", "layer 0"], ["embedding", "layer 0", "head"]
    figure = Figure(layout="constrained")
    gradients.distribution(figure, SimpleNamespace(variants=[variant("post", short), variant("pre", whole)]))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == whole
    medians = {line.get_label(): line for line in axes.lines}
    assert medians["post"].get_xdata().round().tolist() == [0, 1]
    assert medians["pre"].get_xdata().round().tolist() == [0, 1, 2]
    assert medians["pre"].get_ydata().tolist() == [3, 3, 3]


@pytest.mark.parametrize("draw_layers", [gradients.over_training, layers.updates], ids=["gradients", "updates"])
def test_a_layer_has_one_colour_though_not_all_variants_have_it(draw_layers, tmp_path):
    def outcome(run):
        return Outcome(changes={"layers": synthetic.LAYERS[:2]} if run.variant == "post" else {})

    planned = synthetic.study("model.norm_placement", ["post", "pre"])
    figure = Figure(layout="constrained")
    draw_layers(figure, collect(synthetic.write_study(tmp_path, planned, outcome)).settings[0])
    post, pre = [{line.get_label(): line.get_color() for line in axes.lines} for axes in figure.axes]
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    entries = dict(zip(shown, [handle.get_color() for handle in legend.legend_handles], strict=True))
    assert list(post) == ["embedding", "layer 0"]
    assert list(pre) == shown == ["embedding", "layer 0", "layer 1"]
    assert post == {name: pre[name] for name in post}
    assert pre == entries
    assert len({*pre.values()}) == 3


def test_a_layer_without_a_line_is_named_under_the_figure_and_on_the_page(reported):
    missing = "Not drawn, for a norm of 0 or none at some step: head with `0.5` and head with `off`."
    captions = {figure.name: figure.caption for figure in reported.findings(reported.clean).figures}
    assert captions["gradients"].endswith(missing)
    page = (reported.clean.report / "report.html").read_text()
    assert figures_of(page)["settings"][0]["captions"]["gradients"].endswith(missing)


def test_layers_are_listed_from_input_to_output_whichever_variant_has_them():
    short, whole = ["embedding", "layer 0", "head"], ["embedding", "layer 0", "layer 1", "head"]
    assert style.layers_of_all([short, whole, ["embedding"]]) == whole


def test_the_band_is_the_t_interval_of_each_steps_mean():
    values_SN = np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]])
    mean, low, high = style.band(values_SN)
    half = 4.302652729749464 * np.std([1, 2, 6], ddof=1) / np.sqrt(3)
    assert mean == pytest.approx([3.0, 5.0])
    assert low == pytest.approx([3.0 - half, 5.0])
    assert high == pytest.approx([3.0 + half, 5.0])
    assert style.band(values_SN[:1])[1] == pytest.approx([1.0, 5.0])


def test_windows_average_consecutive_steps_and_lose_none():
    steps = np.arange(1, 8)
    ends, means = style.windows(steps, steps.astype(float) * 10, wanted=3)
    assert ends.tolist() == [3, 6, 7]
    assert means.tolist() == [20, 50, 70]
    _, layers = style.windows(steps, np.stack([steps, -steps], axis=1).astype(float), wanted=3)
    assert layers[:, 1].tolist() == [-2, -5, -7]


def test_runs_are_stacked_over_the_steps_that_all_of_them_have(tmp_path):
    def outcome(run):
        return Outcome(state="diverged", why="left", nan_at=20 + run.seed, first_loss=4 + run.seed)

    group = collect(synthetic.write_study(tmp_path, synthetic.study(), outcome)).settings[0].groups[0]
    steps, values_SN = stacked(group.shown, "train/loss")
    assert steps.tolist() == list(range(1, 20))
    assert values_SN[:, 0] == pytest.approx([4, 5, 6])


def test_probe_arrays_of_survivors_are_stacked_by_seed(tmp_path):
    results = collect(synthetic.write_study(tmp_path, synthetic.study(), reported_studies.clean_outcome))
    ((_, group, steps, ratio_SNL), _) = probed(results.settings[0], "update_ratio")
    assert group.label == "1.0"
    assert steps.tolist() == [20, 40]
    assert ratio_SNL[:, 0, 0] == pytest.approx([1e-2, 5e-3, 1e-2 / 3])
