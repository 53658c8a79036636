from dataclasses import replace

import numpy as np
import pytest
import synthetic
from pages import Parsed, figures_of, interactive, unpacked
from reported import write_clean, write_messy
from synthetic import Outcome

from gpt.analysis.findings import SpreadFindings
from gpt.records.files import jsonable
from gpt.records.formatting import fixed, p_run, signed
from gpt.report.figures.page_probes import HEATMAP_STEPS, Weights, by_few_positions, heatmap_steps, heatmaps, spread
from gpt.report.figures.page_series import rounded
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
    places = [text.index(words) for words in ("Does it | help_?", contrast.verdict, "Seed by seed", "Limitations")]
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
    assert [row[header.index("diverged")] for row in rows] == ["0 / 0", "2 / 0"]


def test_what_is_drawn_are_the_findings_own_numbers(messy):
    drawn, found = figures_of(messy.text), messy.findings
    assert [variant["label"] for variant in drawn["variants"]] == ["pre", "post"]
    assert drawn["axis"] == {"title": "optim.lr", "values": [1e-3, 3e-3], "log": True}
    for setting, of_findings in zip(drawn["settings"], found.settings, strict=True):
        for variant, other in zip(setting["variants"], of_findings.variants, strict=True):
            shown = {key: jsonable(getattr(other, key)) for key in ("values", "states", "diverged", "mean")}
            assert shown.items() <= variant.items()
        contrast, other = setting["contrasts"][0], of_findings.contrasts[0]
        assert contrast["differences"] == jsonable(other.paired.differences)
        assert (contrast["low"], contrast["high"]) == tuple(jsonable([other.paired.low, other.paired.high]))
        assert contrast["seeds"] == other.seeds


def test_every_planned_run_has_a_row_with_its_state_and_reason(messy):
    header, *rows = Parsed(messy.text).tables["runs"]
    runs = [dict(zip(header, row, strict=True)) for row in rows]
    assert len(runs) == 20
    by_place = {(c["variant"], c["setting"], c["seed"]): c for c in runs}
    lost = by_place["post", "optim.lr = 0.003", "0"]
    assert (lost["status"], lost["lowest validation loss"]) == ("diverged", "-")
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
    assert figures_of(page)["settings"][0]["heatmaps"]["variants"][0]["text"] == "</script"


def test_code_is_marked_after_everything_was_escaped():
    assert marked("with `<b>` & more") == "with <code>&lt;b&gt;</code> &amp; more"


def test_a_study_without_a_run_has_a_page_without_figures(tmp_path):
    page = page_of(tmp_path, lambda run: Outcome(state="planned"))
    (setting,) = figures_of(page)["settings"]
    drawn = (
        "components",
        "loss",
        "gradients",
        "clipping",
        "updates",
        "activations",
        "attention",
        "heatmaps",
        "long_range",
    )
    assert {name: setting[name] for name in drawn} == dict.fromkeys(drawn)
    assert unpacked(page, "weights") == b""
    assert "no pair yet" in Parsed(page).text


def test_a_variant_whose_runs_all_diverged_is_drawn_as_such(tmp_path):
    def outcome(run):
        lost = run.variant is None
        return Outcome(state="diverged", nan_at=21, why="not finite") if lost else Outcome()

    drawn = figures_of(page_of(tmp_path, outcome))
    lost = drawn["settings"][0]["variants"][1]
    assert lost["runs"] == "3 diverged runs"
    assert drawn["settings"][0]["loss"]["val"][1]["mean"] is None
    assert [run["diverged"] for run in drawn["settings"][0]["loss"]["val"][1]["runs"]] == [True] * 3
    assert [group["variant"] for group in drawn["settings"][0]["long_range"]] == [0]
    assert "no run of `off` survived" in drawn["sensitivity"]


def test_what_was_not_probed_is_absent_and_nothing_else(messy, clean):
    setting = figures_of(messy.text)["settings"][0]
    assert (setting["activations"], setting["attention"], setting["heatmaps"]) == (None,) * 3
    assert None not in (setting["loss"], setting["gradients"], setting["clipping"])
    assert set(figures_of(clean.text)["settings"][0]["attention"]) == {
        "attention_entropy",
        "attention_distance",
        "attention_previous",
        "attention_first",
        "attention_induction",
        "attention_logit_max",
    }


def test_three_variants_and_settings_that_are_no_numbers(tmp_path):
    settings = {"model.position": ["rope", "learned"], "optim.warmup_steps": [5]}
    page = page_of(tmp_path, lambda run: Outcome(), factor="model.norm_placement", variants=["pre", "post", "peri"],
                   seeds=2, settings=settings)  # fmt: skip
    drawn = figures_of(page)
    assert drawn["axis"]["values"] == ["model.position = rope", "model.position = learned"]
    assert len({variant["color"] for variant in drawn["variants"]}) == 3
    assert [len(setting["contrasts"]) for setting in drawn["settings"]] == [2, 2]
    lengths = [setting["long_range"][0]["beyond"] for setting in drawn["settings"]]
    assert lengths == [16, 8]  # learned positions end with the context
    assert "optim.warmup_steps = 5 in all of them" in Parsed(page).text


def test_weights_come_back_to_half_a_level():
    weights = np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 3, 5)) * np.tri(5)
    kept = Weights()
    assert [kept.add(weights), kept.add(weights)] == [0, 2 * 3 * 15]
    rows, columns = np.tril_indices(5)
    back = np.frombuffer(bytes(kept.bytes), dtype=np.uint8)[:90].reshape(2, 3, 15) / 255
    assert np.abs(back - weights[..., rows, columns]).max() <= 0.5 / 255 + 1e-12


def test_a_page_keeps_one_runs_heatmaps_at_a_few_steps_and_the_mean_at_the_last(clean):
    setting = clean.results.settings[0]
    kept = Weights()
    found = heatmaps(setting, (10, 11, 12), kept, 5)["variants"]
    assert [[each["step"] for each in group["one"]] for group in found] == [[0, 20, 40]] * 2
    assert [[each["step"] for each in group["mean"]] for group in found] == [[40]] * 2
    assert {group["seed"] for group in found} == {10}
    assert len(kept.bytes) == 2 * 4 * (2 * 2 * 36)


def test_steps_are_spread_from_the_first_to_the_last_and_closer_early():
    assert spread(range(0, 2001, 100), HEATMAP_STEPS) == [0, 100, 400, 900, 2000]
    for n in range(1, 30):
        steps = spread(list(range(n)), HEATMAP_STEPS)
        assert (steps[0], steps[-1]) == (0, n - 1)
        assert len(set(steps)) == len(steps) <= HEATMAP_STEPS


def test_the_more_variants_and_settings_the_fewer_steps_down_to_the_first_and_the_last():
    assert [heatmap_steps(groups) for groups in (1, 2, 6, 9, 10, 40)] == [5, 5, 5, 3, 3, 2]


def test_later_positions_are_averaged_and_none_is_left_out():
    loss = np.arange(2 * 14, dtype=float).reshape(2, 14)
    at, means = by_few_positions(loss)
    assert at.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 10.5, 13.5]
    assert means[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 9.5, 12.5]
    assert by_few_positions(loss[:, :3])[1].tolist() == loss[:, :3].tolist()


def test_the_quantiles_are_those_of_the_findings(clean):
    (drawn,), (setting,) = figures_of(clean.text)["settings"], clean.findings.settings
    for group, found in zip(drawn["quantiles"], setting.variants, strict=True):
        assert [layer["name"] for layer in group["layers"]] == ["embedding", "layer 0", "layer 1"]  # the head has none
        for layer, levels in zip(group["layers"], found.gradient_quantiles.by_layer[:3], strict=True):
            assert layer["quantiles"] == pytest.approx(levels, rel=1e-3)


def test_numbers_are_rounded_and_what_is_not_finite_is_none():
    assert rounded(np.array([[1.23456, np.nan], [np.inf, 2.0]])) == [[1.235, None], [None, 2]]


def test_findings_without_contrasts_still_give_a_page(clean):
    setting = replace(clean.findings.settings[0], contrasts=[])
    page = html_page(clean.results, clean.findings.model_copy(update={"settings": [setting]})).decode()
    assert "findings" not in Parsed(page).tables
    assert "Seed by seed, and the differences" in Parsed(page).text
    assert figures_of(page)["settings"][0]["contrasts"] == []


def test_a_study_of_seeds_shows_where_its_spread_comes_from_in_place_of_differences(clean):
    apart = SpreadFindings(planned=6, finished=5, diverged=0)
    setting = replace(clean.findings.settings[0], contrasts=[], components=apart)
    page = html_page(clean.results, clean.findings.model_copy(update={"settings": [setting]})).decode()
    assert "5 of 6 runs have finished; the variance is decomposed when all have." in Parsed(page).text
    drawn = {attributes["data-figure"] for _, attributes in Parsed(page).tags if "data-figure" in attributes}
    assert {"components", "crossed", "during"} <= drawn
    assert "paired" not in drawn
    (data,) = figures_of(page)["settings"]
    assert jsonable(apart).items() <= data["components"].items()
    assert data["captions"]["components"].startswith("5 of 6 runs have finished;")
