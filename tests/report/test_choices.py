"""Claims about the choices of a figure: which panels, frames and grids a reader is shown."""

import numpy as np

from gpt.report.figures.spec import MEAN, Axis, Choice, Figure, Frame, Grid, Note, Panel, Pick, shown

FRAMES = Pick(tuple(Frame({"step": step}, Note(text=step, x=0, y=0), f"step {step}") for step in ("0", "20")))


def test_an_ordered_choice_shows_the_nearest_earlier_frame_and_others_only_their_own():
    steps = Choice(name="step", options=[(s, s) for s in ("0", "10", "20", "40")], default="40", ordered=True)
    which = Choice(name="of", options=[("a", ""), ("b", "")], default="a")
    panels = [Panel(title=of, x=Axis(), y=Axis(), marks=(FRAMES,), when={"of": of}) for of in "ab"]
    figure = Figure(caption="", panels=tuple(panels), choices=(steps, which))
    assert [panel.title for panel in shown(figure)] == ["a, step 20"]
    assert [panel.title for panel in shown(figure, {"step": "10", "of": "b"})] == ["b, step 0"]
    unordered = Figure(caption="", panels=panels[:1], choices=(Choice(name="step", options=(), default="5"), which))
    assert shown(unordered)[0].marks == ()


def test_a_grid_is_indexed_by_its_choices_or_averaged():
    values = np.arange(2 * 3 * 2 * 2, dtype=float).reshape(2, 3, 2, 2)
    grid = Grid(values=values, title="", by=("layer", "head"))
    figure = Figure(caption="", panels=(Panel(x=Axis(), y=Axis(), marks=(grid,)),))
    one = shown(figure, {"layer": "1", "head": MEAN})[0].marks[0]
    assert one.values.tolist() == values[1].mean(axis=0).tolist()
    assert one.overview.tolist() == values.tolist()
    assert shown(figure, {"layer": "5", "head": "0"})[0].marks[0].values.tolist() == values[1, 0].tolist()
