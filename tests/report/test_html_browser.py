"""A page in a real browser, from a file: what it draws, that its controls work, that it asks nobody for anything."""

import json
import math
import shutil
import time
from dataclasses import dataclass

import pytest
import synthetic
from needs import go_without
from pages import interactive
from synthetic import Outcome

from gpt.analysis.findings import Findings
from gpt.records.formatting import signed

pytestmark = pytest.mark.browser

QUESTION = "Which </script> one; <b>&amp; why</b>?"
SECONDS = 60
"""for all figures to be drawn on a busy machine"""


def outcome(run):
    """Two learning rates; `post` is worse, more so at the larger one, where it loses a run."""
    post, large = run.variant == "post", dict(run.setting)["optim.lr"] > 2e-3
    made = Outcome(2.0 + 0.01 * run.seed + (0.3 if large else 0.1) * post, rms=(0.1, 0.2 + large, 0.4 + post))
    if post and large and run.seed == 0:
        made.state, made.nan_at, made.why = "diverged", 25, "train/loss not finite at step 25"
    return made


@dataclass
class Seen:
    """A page as a file, and the findings behind it."""

    url: str
    findings: Findings


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    study = synthetic.study("model.norm_placement", ["pre", "post"], seeds=3, name="seen", question=QUESTION,
                            settings={"optim.lr": [1e-3, 3e-3]})  # fmt: skip
    made = interactive(synthetic.write_study(tmp_path_factory.mktemp("seen"), study, outcome))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(made.text, encoding="utf-8")
    return Seen(path.as_uri(), made.findings)


@pytest.fixture(scope="module")
def browser():
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        go_without("chromium", "apt-get install chromium chromium-driver")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1200,900"):
        options.add_argument(f"--{argument}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "localhost,127.0.0.1")
        opened = Chrome(options=options, service=Service(driver))
        yield opened
        opened.quit()


class Page:
    """The open page; keys and clicks go the way a reader's do."""

    def __init__(self, browser):
        self.browser = browser
        self.run = browser.execute_script

    def drawn(self):
        """Wait until every figure is drawn."""
        end = time.monotonic() + SECONDS
        while self.run("return document.documentElement.dataset.drawn") != "yes":
            assert time.monotonic() < end, "the figures were not drawn"
            time.sleep(0.05)

    def data(self, figure, panel=0):
        """The traces of one panel of a figure, as plotly has them."""
        find = "document.querySelectorAll(`[data-figure='${arguments[0]}'] .js-plotly-plot`)[arguments[1]]"
        return self.run(
            f"return {find}.data.map(({{type, x, y, z, text, name}}) => ({{type, x, y, z, text, name}}))", figure, panel
        )

    def press(self, selector, *keys):
        """Focus an element and press keys."""
        element = self.browser.find_element("css selector", selector)
        self.run("arguments[0].focus()", element)
        element.send_keys(*keys)

    def show(self, setting):
        """Choose a setting by the arrow keys."""
        from selenium.webdriver.common.keys import Keys

        while (at := int(self.run("return shownSetting"))) != setting:
            self.press("#settings input:checked", Keys.ARROW_RIGHT if setting > at else Keys.ARROW_LEFT)
            self.drawn()


@pytest.fixture(scope="module")
def page(browser, seen):
    browser.get(seen.url)
    opened = Page(browser)
    opened.drawn()
    return opened


def test_every_figure_is_drawn(page):
    page.show(0)
    counts = page.run(
        "return Object.fromEntries([...document.querySelectorAll('[data-figure]')].map((host) => "
        "[host.dataset.figure, [...host.querySelectorAll('.js-plotly-plot')].map((plot) => "
        "plot.querySelectorAll('.scatterlayer .trace, .heatmaplayer image').length)]))"
    )
    assert {name: len(panels) for name, panels in counts.items()} == {
        "sensitivity": 2,
        "survival": 2,
        "paired": 2,
        "loss": 3,
        "gradients": 2,
        "gradient-distribution": 1,
        "updates": 2,
        "clipping": 2,
        "activations": 4,
        "heads-over-training": 2,
        "scores": 6,
        "attention": 2,
        "attention-over-training": 6,
        "distance": 2,
        "long-range": 4,
    }
    assert all(count > 0 for panels in counts.values() for count in panels)
    wide = "plot.querySelector('.main-svg').getBoundingClientRect().width - plot.parentElement.clientWidth"
    assert page.run(f"return [...document.querySelectorAll('.js-plotly-plot')].every((plot) => {wide} < 1)")
    assert not [p for p in page.browser.find_elements("css selector", ".absent") if p.is_displayed()]
    not_drawn = [item.text for item in page.browser.find_elements("css selector", "#not-drawn li")]
    assert [text.partition(":")[0] for text in not_drawn] == [
        "Power against the number of pairs",
        "Gradient noise scale during training",
    ]
    captions = page.run("return [...document.querySelectorAll('figcaption:not([hidden])')].map((c) => c.textContent)")
    assert len(captions) == sum(map(bool, counts.values()))
    assert all(captions)


def test_what_is_drawn_are_the_findings_numbers(page, seen):
    for i, setting in enumerate(seen.findings.settings):
        page.show(i)
        points = [trace for trace in page.data("paired") if trace["text"]]
        for variant, shown in zip(setting.variants, points, strict=True):
            kept = [v for v, lost in zip(variant.values, variant.failed, strict=True) if not lost]
            assert shown["y"] == kept
        (contrast,) = setting.contrasts
        each, *interval, mean = page.data("paired", 1)
        assert len(interval) == (len(contrast.seeds) > 1)
        assert each["x"] == [d for d in contrast.paired.differences if math.isfinite(d)]
        assert interval[0]["x"] == [contrast.paired.low, contrast.paired.high, None]
        assert mean["x"] == [contrast.paired.mean_difference]
        table = page.browser.find_elements("css selector", "#findings tbody tr")[i].text
        assert signed(contrast.paired.mean_difference, 4) in table
        assert contrast.verdict in table


def test_the_setting_selector_changes_figures_captions_and_runs(page):
    page.show(0)
    before = [page.data(name) for name in ("paired", "loss", "activations")]
    rows = page.browser.find_elements("css selector", "#runs tbody tr")
    assert [row.is_displayed() for row in rows].count(True) == 6
    failed = "tr.state-failed"
    assert not any(row.is_displayed() for row in page.browser.find_elements("css selector", failed))
    page.show(1)
    assert all(old != page.data(name) for old, name in zip(before, ("paired", "loss", "activations"), strict=True))
    assert any(row.is_displayed() for row in page.browser.find_elements("css selector", failed))
    notes = "return document.querySelector('[data-figure={}] .js-plotly-plot').layout.annotations.map((a) => a.text)"
    assert "<b>1 of 3 failed</b>" in page.run(notes.format("paired"))
    assert "<b>✕<br>1 of 3</b>" in page.run(notes.format("sensitivity"))
    here = "return document.querySelector('[data-figure=sensitivity] .js-plotly-plot').layout.shapes[0].x0"
    at = page.run(here)
    page.show(0)
    assert page.run(here) < at


def test_the_heatmap_follows_its_pickers_from_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    page.show(0)
    (heat,) = page.data("attention")
    even = [[1 / (row + 1) if column <= row else None for column in range(8)] for row in range(8)]
    assert all(
        (a is None) == (b is None) and (a is None or abs(a - b) < 0.5 / 254 + 1e-3)
        for row, other in zip(heat["z"], even, strict=True)
        for a, b in zip(row, other, strict=True)
    )
    assert heat["text"][3][1] == "character that looks: $<br>character looked at: ↵<br>0.252"
    title = "[data-figure=attention] h4"
    assert page.browser.find_element("css selector", title).text == "pre, 3 runs, step 40"
    page.press("#attention-run", Keys.HOME)
    page.press("#attention-step", Keys.ARROW_LEFT)
    assert page.browser.find_element("css selector", title).text == "pre, 3 runs, step 20"
    start = page.run("return page.figures.attention[0].panels[0].marks[0].frames[0].mark.at")
    page.run(f"weights.fill(127, {start + 64}, {start + 128})")  # layer 0, head 1 before training: a half everywhere
    page.press("#attention-step", Keys.HOME)
    page.press("[data-figure=attention] .thumbs button:nth-child(2)", Keys.ENTER)
    assert page.run("return [element('attention-layer').value, element('attention-head').value]") == ["0", "1"]
    assert page.data("attention")[0]["z"][7] == pytest.approx([0.5] * 8)


def test_the_step_slider_moves_the_activations(page):
    from selenium.webdriver.common.keys import Keys

    page.show(0)
    last = page.data("activations")[-1]
    page.press("#activations-step", Keys.HOME)
    first = page.data("activations")[-1]
    assert (last["name"], first["name"]) == ("post, step 40", "post, before training")
    assert last["y"] == pytest.approx([2 * value for value in first["y"]])
    assert page.browser.find_element("css selector", "[data-figure=activations] output").text == "0"


def test_the_measure_changes_the_panels_of_heads(page):
    from selenium.webdriver.common.keys import Keys

    before = page.data("heads-over-training")
    page.press("#heads-over-training-measure", Keys.END)
    assert page.data("heads-over-training") != before
    meaning = page.browser.find_element("css selector", "[data-figure=heads-over-training] .meaning").text
    assert meaning.startswith("On repeated random characters")
    page.press("#heads-over-training-measure", Keys.HOME)


def test_a_variant_can_be_left_out_of_all_figures(page):
    from selenium.webdriver.common.keys import Keys

    page.show(0)
    before = page.data("loss")
    button = page.browser.find_element("css selector", "[data-variant='1']")
    button.send_keys(Keys.ENTER)
    page.drawn()
    assert button.get_attribute("aria-pressed") == "false"
    assert {trace["name"] for trace in page.data("loss")} == {None, "", "pre"}
    assert len(page.browser.find_elements("css selector", "[data-figure=attention] .js-plotly-plot")) == 1
    button.send_keys(Keys.ENTER)
    page.drawn()
    assert page.data("loss") == before


def test_words_of_a_user_are_shown_as_they_are(page):
    assert page.browser.find_element("css selector", "h1").text == QUESTION
    page.show(0)
    samples = page.browser.find_elements("css selector", "[data-sample] pre")
    assert [sample.text for sample in samples if sample.is_displayed()] == ["pre wrote ``` this", "post wrote ``` this"]


def test_a_narrow_page_never_scrolls_sideways(page):
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 375, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        end = time.monotonic() + SECONDS
        while page.run("return document.documentElement.scrollWidth") > 375 and time.monotonic() < end:
            time.sleep(0.05)  # figures follow the width a moment later
        assert page.run("return document.documentElement.scrollWidth") == 375
        page.drawn()
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_is_asked_of_a_network_and_nothing_is_wrong_on_the_console(page):
    messages = [json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith("file:") and url.endswith("report.html") for url in asked)
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.browser.get_log("browser") == []


def test_a_browser_that_cannot_unpack_the_figures_says_so(page, seen):
    script = page.browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": "delete window.DecompressionStream"}
    )
    page.browser.get(seen.url)
    page.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    assert "cannot unpack the figures" in page.browser.find_element("id", "trouble").text
    assert not page.browser.find_element("id", "figures").is_displayed()
    assert page.browser.find_element("id", "findings").is_displayed()
