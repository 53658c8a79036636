from dataclasses import fields, replace

import numpy as np
import pytest
import seeds
import synthetic
from pages import Parsed, figures_of, interactive, unpacked
from reported import write_clean, write_messy
from synthetic import Outcome

from gpt.records.formatting import fixed, p_run, signed
from gpt.report.draw.encoding import encoded
from gpt.report.figures.catalogue import draw_all
from gpt.report.figures.spec import Line, variant
from gpt.report.pages.html import html_page, marked, packed
from gpt.report.text.sentences import sentence

HOSTILE = "</script><script>window.hacked = 1</script><b>Does & it `help`?</b>"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return interactive(write_clean(tmp_path_factory.mktemp("clean")))


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    return interactive(write_messy(tmp_path_factory.mktemp("messy")))


def page_of(tmp_path, outcome, **study):
    return interactive(synthetic.write_study(tmp_path, synthetic.study(**study), outcome)).text


def test_a_page_refers_to_nothing_outside_itself(clean):
    parsed = Parsed(clean.text)
    links = {attributes[key] for _, attributes in parsed.tags for key in ("src", "href") if key in attributes}
    assert links == {"#figures", "data:,"}
    (style,) = [clean.text.split("<style>")[1].split("</style>")[0]]
    assert "url(" not in style
    assert "@import" not in style
    script = clean.text.rsplit("<script>", 1)[1]
    assert not any(word in script for word in ("http:", "https:", "fetch(", "XMLHttpRequest", "import("))


def test_a_page_is_small_and_gives_plotly_whole(clean):
    assert len(clean.text.encode()) < 2_200_000
    library = unpacked(clean.text, "plotly")
    assert library.startswith(b"/**\n* plotly.js v")
    assert b"MIT license" in library[:300]


def test_equal_bytes_are_packed_into_equal_text():
    assert packed(b"abc" * 99) == packed(b"abc" * 99)
    assert packed(b"") != packed(b"a")


def test_the_verdict_comes_before_everything_but_the_question(clean):
    text = Parsed(clean.text).text
    contrast = clean.findings.contrasts[0]
    places = [text.index(words) for words in ("Does it | help_?", contrast.verdict, "seed by seed", "Limitations")]
    assert places == sorted(places)
    assert sentence(contrast, clean.findings.study.metric).replace("`", "") in text


def test_the_table_shows_the_numbers_of_the_findings(clean, messy):
    header, row = Parsed(clean.text).tables["findings"]
    contrast = clean.findings.contrasts[0]
    shown, paired = dict(zip(header, row, strict=True)), contrast.paired
    assert shown["comparison"] == "off vs 0.5"
    assert shown["verdict"] == contrast.verdict
    assert shown["difference"] == signed(paired.mean_difference, 4)
    assert shown["95 % interval"] == f"[{signed(paired.low, 4)}, {signed(paired.high, 4)}]"
    assert shown["corrected p"] == p_run(contrast.p_adjusted)
    header, *rows = Parsed(messy.text).tables["findings"]
    assert [row[header.index("setting")] for row in rows] == ["optim.lr = 0.001", "optim.lr = 0.003"]
    assert [row[header.index("failed")] for row in rows] == ["0 / 0", "2 / 0"]


def panels_of(page, name, place="0"):
    return figures_of(page)["figures"][name][place]["panels"]


@pytest.mark.parametrize("study", ["clean", "messy"])
def test_a_page_holds_the_numbers_of_every_spec(study, request):
    made = request.getfixturevalue(study)
    weights = np.frombuffer(unpacked(made.text, "weights"), dtype=np.uint8)
    carried, used = figures_of(made.text)["figures"], 0
    for each in made.drawn:
        shown = carried[each.entry.name]["all" if each.index is None else str(each.index)]
        assert shown["caption"] == each.figure.caption
        for panel, other in zip(each.figure.panels, shown["panels"], strict=True):
            for mark, found in zip(all_marks(panel.marks), all_marks(other["marks"]), strict=True):
                assert found["kind"] == type(mark).__name__
                for name in [field.name for field in fields(mark) if isinstance(getattr(mark, field.name), np.ndarray)]:
                    if "at" in found and name == "values":
                        size = mark.values.size
                        levels = weights[found["at"] : found["at"] + size].reshape(found["shape"]).astype(float)
                        np.testing.assert_allclose(
                            np.where(levels == 255, np.nan, levels / 254), mark.values, atol=1e-12
                        )
                        used += size
                    else:
                        np.testing.assert_array_equal(np.array(found[name], dtype=float), getattr(mark, name), name)
    assert used == len(weights)


def all_marks(marks):
    """With the marks of picks in their places."""
    for mark in marks:
        frames = mark.get("frames") if isinstance(mark, dict) else getattr(mark, "frames", None)
        yield from [mark] if frames is None else [f["mark"] if isinstance(f, dict) else f.mark for f in frames]


def test_every_planned_run_has_a_row_with_its_state_and_reason(messy):
    header, *rows = Parsed(messy.text).tables["runs"]
    runs = [dict(zip(header, row, strict=True)) for row in rows]
    assert len(runs) == 20
    by_place = {(c["variant"], c["setting"], c["seed"]): c for c in runs}
    lost = by_place["post", "optim.lr = 0.003", "0"]
    assert (lost["status"], lost["lowest validation loss"]) == ("non-finite", "-")
    assert lost["why"] == "train/loss not finite at step 25"
    assert by_place["pre", "optim.lr = 0.003", "2"]["why"] == "OSError: no space"
    assert by_place["pre", "optim.lr = 0.003", "4"]["status"] == "planned"
    variant = messy.findings.settings[0].variants[1]
    assert by_place["post", "optim.lr = 0.001", "1"]["lowest validation loss"] == fixed(variant.values[1], 4)
    assert by_place["post", "optim.lr = 0.001", "1"]["fingerprint"] == variant.runs[1]


def test_an_unfinished_study_says_so_at_the_top(messy, clean):
    answer = Parsed(messy.text).text.split("Answer")[1].split("The metric")[0]
    assert "Incomplete: 17 of 20 runs have finished." in answer
    assert "have finished. What follows" not in Parsed(clean.text).text


def test_no_words_of_a_user_can_break_out_of_their_place(tmp_path, clean):
    def outcome(run):
        state = {0: "done", 1: "failed", 2: "diverged"}[run.seed]
        return Outcome(state=state, why=HOSTILE, changes={"probe_text": "</script>"})

    page = page_of(tmp_path, outcome, question=HOSTILE)
    parsed = Parsed(page)
    assert len([1 for tag, _ in parsed.tags if tag == "script"]) == 4
    assert page.count("</script") == clean.text.count("</script")
    assert " ".join(HOSTILE.split()) in parsed.text
    assert parsed.tables["runs"][2][-2] == HOSTILE
    assert "".join(words for _, words in panels_of(page, "attention")[0]["x"]["ticks"]) == "</script"


def test_code_is_marked_after_everything_was_escaped():
    assert marked("with `<b>` & more") == "with <code>&lt;b&gt;</code> &amp; more"


def test_a_study_without_a_run_has_a_page_without_figures(tmp_path):
    page = page_of(tmp_path, lambda run: Outcome(state="planned"))
    assert figures_of(page)["figures"] == {}
    assert unpacked(page, "weights") == b""
    assert "no pair yet" in Parsed(page).text


def test_a_variant_whose_runs_all_failed_is_drawn_as_such(tmp_path):
    def outcome(run):
        lost = run.variant is None
        return Outcome(state="diverged", nan_at=21, why="not finite") if lost else Outcome()

    page = page_of(tmp_path, outcome)
    assert [panel["title"] for panel in panels_of(page, "gradients")] == ["1.0, 3 runs", "off, 3 failed runs"]
    assert [mark["label"] for mark in panels_of(page, "long-range")[1]["marks"]] == ["1.0"]


def test_what_was_not_probed_is_absent_and_nothing_else(messy):
    assert set(figures_of(messy.text)["figures"]) == {
        "sensitivity", "survival", "paired", "power", "loss", "gradients", "gradient-distribution", "clipping",
        "long-range",
    }  # fmt: skip
    places = {attributes["data-figure"] for _, attributes in Parsed(messy.text).tags if "data-figure" in attributes}
    assert places == set(figures_of(messy.text)["figures"])
    not_drawn = messy.text.partition("<h2>Not drawn</h2>")[2].partition("</section>")[0]
    assert "Not recorded: the probes of attention were off." in not_drawn


def test_three_variants_and_settings_that_are_no_numbers(tmp_path):
    settings = {"model.position": ["rope", "learned"], "optim.warmup_steps": [5]}
    page = page_of(tmp_path, lambda run: Outcome(), factor="model.norm_placement", variants=["pre", "post", "peri"],
                   seeds=2, settings=settings)  # fmt: skip
    axis = panels_of(page, "sensitivity", "all")[0]["x"]
    assert axis["label"] == "model.position"
    assert axis["ticks"] == [[0, "rope"], [1, "learned"]]
    ends = [panels_of(page, "long-range", place)[0]["x"]["limits"][1] for place in ("0", "1")]
    assert ends == [17, 9]  # learned positions end with the context
    assert "optim.warmup_steps = 5 in all of them" in Parsed(page).text


def test_the_largest_seeds_are_shown_to_the_last_digit(tmp_path):
    large = [2**53, 2**53 + 1, 2**63 - 1]
    page = page_of(tmp_path, lambda run: Outcome(), seeds=large)
    parsed = Parsed(page)
    for seed in map(str, large):
        assert [row[0] for row in parsed.tables["runs"]].count(seed) == 2
        assert f">{seed}</option>" in page
        words = [words for mark in panels_of(page, "paired")[0]["marks"] for words in mark.get("words", [])]
        assert sum(each.startswith(f"1.0, seed {seed}: ") for each in words) == 1
    (run, *_) = figures_of(page)["figures"]["attention"]["0"]["choices"]
    assert run["options"][0][1] == f"seed {large[0]}"
    assert largest(figures_of(page)) < 2**53


def largest(value):
    """The largest whole number anywhere in JSON."""
    if isinstance(value, dict | list):
        return max((largest(item) for item in (value.values() if isinstance(value, dict) else value)), default=0)
    return abs(value) if isinstance(value, int) else 0


def test_a_mark_carries_what_is_not_its_default():
    line = Line(x=np.array([1, 2]), y=np.array([np.nan, 0.5]), color=variant(0), dash="dot")
    assert encoded(line, bytearray()) == {
        "kind": "Line", "x": [1, 2], "y": [None, 0.5], "color": {"role": "variant"}, "dash": "dot"
    }  # fmt: skip


def test_findings_without_contrasts_still_give_a_page(clean):
    setting = replace(clean.findings.settings[0], contrasts=[])
    findings = clean.findings.model_copy(update={"settings": [setting]})
    page = html_page(clean.results, findings, draw_all(clean.results, findings)).decode()
    assert "findings" not in Parsed(page).tables
    assert len(panels_of(page, "paired")) == 1


def test_a_study_of_seeds_shows_where_its_spread_comes_from_in_place_of_differences(tmp_path):
    made = interactive(seeds.write(tmp_path))
    drawn = {attributes["data-figure"] for _, attributes in Parsed(made.text).tags if "data-figure" in attributes}
    assert {"components", "crossed", "during", "loss"} <= drawn
    assert not {"paired", "sensitivity", "survival"} & drawn
    (grid, *_) = panels_of(made.text, "crossed")[0]["marks"]
    assert grid["values"][2][:5] == [seeds.value(2, order) for order in range(5)]
    assert grid["words"][2][0] == f"{seeds.value(2, 0):.4f}"
    shares, _ = panels_of(made.text, "components")
    split = made.findings.settings[0].components.split
    assert [mark["x"][0] for mark in shares["marks"] if mark["kind"] == "Points"] == [
        100 * part.share for part in (split.init, split.order, split.residual)
    ]
