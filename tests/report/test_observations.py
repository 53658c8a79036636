import synthetic
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.report.text.observations import observations


def said(tmp_path, outcome, **study):
    """Observations of the first setting, by what they are about."""
    folder = synthetic.write_study(tmp_path, synthetic.study(**study), outcome)
    findings = build_findings(collect(folder))
    sentences = observations(findings.study, findings.settings[0])
    return {sentence.split(":")[0].split(",")[0]: sentence for sentence in sentences}


def test_every_measurement_has_its_sentence(tmp_path):
    assert list(said(tmp_path, lambda run: Outcome())) == [
        "Stability",
        "Loss on validation text",
        "Gradients",
        "Gradients by layer",
        "Clipping",
        "Activations at the end of training",
        "Attention",
        "Attention heads and heatmaps at the end of training",
        "Long-range use of context",
    ]


def test_sentences_hold_the_numbers_of_the_records(tmp_path):
    found = said(tmp_path, lambda run: Outcome(scale=0.5 if run.variant else 1.0, rms=(0.1, 0.2, 0.4)))
    assert found["Stability"] == (
        "Stability: none of 6 runs failed, no training loss spiked and no attention collapsed; the smallest jump of "
        "the loss that would have been seen is 0.3 with `1.0` and 0.3 with `off`, in nats."
    )
    assert "with `1.0` from 0.0625 (layer 1) to 0.25 (embedding), at the first step" in found["Gradients by layer"]
    assert (
        "with `1.0` 90.0 % (to 0.50 of their length on average), 60.0 % in the first quarter of the run and 100.0 % in "
        "the last; with `off` 0.0 %." in found["Clipping"]
    )
    assert (
        "with `1.0` the stream's root mean square is 0.200 after the embedding and 0.800 after the last layer, its "
        "largest value 4, its largest excess kurtosis 3, 5.0 % of the feed-forward units are dead"
        in found["Activations at the end of training"]
    )
    heads = found["Attention heads and heatmaps at the end of training"]
    assert "look back 1.1 (layer 0) to 1.6 characters (layer 1)" in heads
    assert "a layer's best head has up to 0.50 (layer 1) of its weight on the previous character" in heads
    assert "up to 0.30 (layer 0) on the first one, and up to 0.70" in heads
    assert "even attention would look back 1.8 characters and have 0.25 on the previous one" in heads
    context = found["Long-range use of context"]
    assert "within 2.67 (1.23 to 4.1) characters, positions beyond the trained context cost 0.75" in context


def test_what_went_wrong_is_told_with_its_steps(tmp_path):
    def outcome(run):
        if run.variant is None and run.seed < 2:
            return Outcome(state="diverged", why="left", nan_at=20 + run.seed)
        return Outcome(spikes=2, collapses=1 if run.variant else 0)

    assert said(tmp_path, outcome)["Stability"] == (
        "Stability: with `1.0` 0 of 3 runs failed, 6 loss spikes, attention collapsed in 3 runs; with `off` 2 of 3 "
        "runs failed (2 became non-finite; at steps 20 to 21), 2 loss spikes; the smallest jump of the loss that would "
        "have been seen is 0.3 with `1.0` and 0.3 with `off`, in nats."
    )


def test_what_was_not_recorded_has_no_sentence(tmp_path):
    def outcome(run):
        return Outcome(probes=run.seed > 0, long_range=False)

    assert list(said(tmp_path, outcome)) == [
        "Stability", "Loss on validation text", "Gradients", "Gradients by layer", "Clipping",
    ]  # fmt: skip
    assert said(tmp_path / "none", lambda run: Outcome(state="planned")) == {}


def test_even_attention_is_that_of_the_settings_own_context(tmp_path):
    sentences = said(tmp_path / "held", lambda run: Outcome(), settings={"model.context": [32]})
    assert "attention spread evenly over 32 positions would have 2.55" in sentences["Attention"]
    heads = "Attention heads and heatmaps at the end of training"
    assert "even attention would look back 7.8 characters and have 0.10 on the previous one" in sentences[heads]
    sentences = said(tmp_path / "varied", lambda run: Outcome(), factor="model.context", variants=[16, 32])
    assert (
        "over 16 positions would have 1.92; attention spread evenly over 32 positions would have 2.55"
        in (sentences["Attention"])
    )
