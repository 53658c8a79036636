"""Claims about figures as PNG files: what is in them, that they are the spec's numbers, when they are drawn again."""

import io
import struct

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from reported import write_clean
from synthetic import Outcome, study, write_study

from gpt.report.build import build_report
from gpt.report.draw import png as style
from gpt.report.draw import png_files
from gpt.report.draw.png_files import key_of, write_files
from gpt.report.figures.spec import (
    COLORS,
    MEAN,
    Axis,
    Bars,
    Choice,
    Color,
    Figure,
    Grid,
    Level,
    Line,
    Note,
    Panel,
    Points,
    Zone,
    variant,
)

X = np.array([0.0, 1.0, 2.0])


def of(*marks, **panel):
    return Figure(caption="", panels=(Panel(x=Axis(), y=Axis(), marks=marks, **panel),))


def drawn(*marks, **panel):
    """The axes of a figure of one panel."""
    return style.draw(of(*marks, **panel)).axes[0]


def pixels(data):
    return imread(io.BytesIO(data), format="png")[:, :, :3]


def test_every_figure_is_a_readable_png_with_content_and_of_moderate_size(reported):
    files = sorted(reported.out.glob("studies/*/report/figures/*.png"))
    for folder in (reported.clean, reported.messy):
        names = {figure.file for figure in reported.findings(folder).figures}
        assert {file.name for file in files if folder.name in str(file)} == names
    for file in files:
        data = file.read_bytes()
        assert len(data) < 60_000, file
        width, _ = struct.unpack(">II", data[16:24])
        assert width == round(style.WIDTH * style.DPI)
        image = pixels(data)
        codes = (image * 255).astype(np.int64) @ np.array([1, 256, 65536])
        assert len(np.unique(codes)) > 30, file
        assert (image < 0.9).any(axis=2).mean() > 0.005, file


def test_a_variant_has_the_same_colour_in_every_figure_that_tells_variants_apart(reported):
    wanted = [np.array(matplotlib.colors.to_rgb(color)) for color in COLORS[:2]]
    for name in (
        "paired",
        "loss",
        "clipping",
        "activations",
        "gradient-distribution",
        "distance",
        "scores",
        "long-range",
    ):
        image = pixels((reported.clean.report / "figures" / f"{name}.png").read_bytes())
        for rgb in wanted:
            assert (np.abs(image - rgb).max(axis=2) < 0.01).sum() > 20, name


def test_a_setting_of_the_users_own_changes_no_byte():
    figure = of(Line(x=X, y=X, color=variant(0), label="a"))
    plain = style.png(figure, "key")
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "lines.linewidth": 9}):
        assert style.png(figure, "key") == plain
        assert matplotlib.rcParams["font.size"] == 30
    assert b"Matplotlib" not in plain


def test_a_line_is_drawn_with_its_band_and_gaps():
    gap = np.array([1.0, np.nan, 3.0])
    axes = drawn(Line(x=X, y=gap, low=gap - 1, high=gap + 1, color=variant(1), label="off", dash="dash"))
    (line,), (band,) = axes.lines, axes.collections
    assert line.get_xdata().tolist() == X.tolist()
    np.testing.assert_array_equal(line.get_ydata(), gap)
    assert (line.get_label(), line.get_color(), line.is_dashed()) == ("off", COLORS[1], True)
    assert {path.vertices[:, 1].min() for path in band.get_paths()} == {0, 2}
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["off"]


def test_the_legend_lists_layers_from_the_input_to_the_output():
    lines = [Line(x=X, y=X, color=Color("depth", i, 3), label=f"layer {i}") for i in (0, 2, 1)]
    canvas = style.draw(of(Level(at=1, label="even"), *lines))
    assert [text.get_text() for text in canvas.legends[0].get_texts()] == ["layer 0", "layer 1", "layer 2", "even"]


def test_points_bars_levels_zones_and_notes_are_where_the_spec_has_them():
    axes = drawn(
        Points(x=X, y=2 * X, color=variant(2), cross=True),
        Bars(at=X, low=X - 1, high=X + 1, color=variant(0), width=3, across=True),
        Level(at=0.5, label="even"),
        Zone(low=0.25, high=0.75, upright=True, label="never"),
        Note(text="half\n$1 水", x=0.5, y=2, x_share=True, color=Color("variant", 1)),
    )
    points, level = axes.lines
    assert points.get_xydata().tolist() == [[0, 0], [1, 2], [2, 4]]
    assert (points.get_marker(), level.get_ydata()) == ("x", [0.5, 0.5])
    (bars,) = axes.collections
    assert [segment.tolist() for segment in bars.get_segments()] == [[[x - 1, x], [x + 1, x]] for x in X]
    (zone,) = axes.patches
    assert (zone.get_x(), zone.get_width()) == (0.25, 0.5)
    assert [text.get_text() for text in axes.texts] == ["never", "half\n$1 □"]  # the font has no such character
    assert axes.texts[1].get_position() == (0.5, 2)


def test_a_grid_shows_its_values_its_words_and_a_scale():
    values = np.array([[1.0, np.nan], [3.0, 4.0]])
    grid = Grid(values=values, title="loss", low=0, high=4, words=(("1", "lost"), ("3", "4")), diverging=True)
    canvas = style.draw(of(grid))
    (image,) = canvas.axes[0].images
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), values)
    assert image.get_clim() == (0, 4)
    assert [text.get_text() for text in canvas.axes[0].texts] == ["1", "lost", "3", "4"]
    assert canvas.axes[1].get_xlabel() == "loss"


def test_a_grid_that_choices_index_comes_with_a_small_map_of_each():
    values = np.linspace(0, 1, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    places = [[(MEAN, ""), *((str(i), "") for i in range(count))] for count in (2, 3)]
    choices = [Choice(name=n, options=o, default=MEAN) for n, o in zip(("layer", "head"), places, strict=True)]
    grid = Grid(values=values, title="", by=("layer", "head"))
    figure = Figure(caption="", panels=of(grid, square=True).panels, choices=tuple(choices))
    whole, maps, *_ = style.draw(figure).axes
    np.testing.assert_allclose(whole.images[0].get_array(), values.mean(axis=(0, 1)))
    mosaic = maps.images[0].get_array()
    np.testing.assert_allclose(mosaic[5:9, 10:14], values[1, 2])
    assert (maps.get_xlabel(), maps.get_ylabel()) == ("head", "layer")


@pytest.mark.parametrize("scale", ["linear", "log", "symlog"])
def test_an_axis_has_the_specs_limits_and_ticks(scale):
    axis = Axis(label="steps", scale=scale, limits=(0.5, 20.0), ticks=((1.0, "one"), (10.0, "ten")))
    figure = Figure(caption="", panels=(Panel(title="title", x=Axis(), y=axis, marks=()),))
    (axes,) = style.draw(figure).axes
    assert (axes.get_yscale(), axes.get_ylim(), axes.get_ylabel(), axes.get_title()) == (
        scale,
        (0.5, 20),
        "steps",
        "title",
    )
    assert [text.get_text() for text in axes.get_yticklabels()] == ["one", "ten"]


def test_only_what_changed_is_drawn_again(tmp_path):
    folder = write_clean(tmp_path)
    build_report(folder)
    files = sorted((folder.report / "figures").iterdir())
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    files[0].write_bytes(b"nothing of ours")
    build_report(folder)
    assert {file: file.read_bytes() for file in files} == {file: data for file, (data, _) in before.items()}
    assert [file for file in files if file.stat().st_mtime_ns != before[file][1]] == files[:1]


def test_a_figures_key_depends_on_its_numbers_and_on_what_draws_it(monkeypatch):
    one, other = (of(Line(x=X, y=X * scale, color=variant(0))) for scale in (1.0, 2.0))
    key = key_of(one)
    assert key == key_of(of(Line(x=X.copy(), y=X.copy(), color=variant(0)))) != key_of(other)
    shares = [of(Grid(values=np.full((2, 2), share), title="")) for share in (0.25, 0.5)]
    assert key_of(shares[0]) != key_of(shares[1])
    monkeypatch.setattr(png_files, "_drawn_by", lambda: "another version")
    assert key_of(one) != key


def test_a_figure_that_cannot_be_drawn_costs_no_other(tmp_path):
    wrong, right = of(Line(x=X, y=X[:2], color=variant(0))), of(Line(x=X, y=X, color=variant(0)))
    (tmp_path / "wrong.png").write_bytes(b"of an earlier report")
    failed = write_files({tmp_path: {"wrong.png": wrong, "right.png": right}})
    assert list(failed) == [tmp_path / "wrong.png"]
    assert failed[tmp_path / "wrong.png"].startswith("ValueError: x and y must have same first dimension")
    assert "(png.py, line" in failed[tmp_path / "wrong.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["right.png"]


def test_a_report_says_which_figure_could_not_be_drawn(tmp_path, monkeypatch):
    from gpt.report.figures import catalogue

    broken = of(Line(x=X, y=X[:2], color=variant(0)))
    whole = catalogue.entries()
    entry = catalogue.Entry("broken", "A broken figure", catalogue.INSIDE, 15, "")
    monkeypatch.setitem(catalogue.ENTRIES, entry, lambda _: broken)
    monkeypatch.setattr(catalogue, "entries", lambda: [*whole, entry])
    built = build_report(write_study(tmp_path, study(), lambda run: Outcome(probes=False, long_range=False)))
    (left_out,) = built.findings.left_out_figures
    assert left_out.error.startswith("ValueError: x and y")
    page = (built.folder.report / "report.md").read_text()
    assert "A broken figure (`broken`): ValueError: x and y" in page
    assert "figures/broken.png" not in page
    assert "figures/loss.png" in page
