"""Claims about study files: what is refused, and by which name."""

from pathlib import Path

import pytest
from files import edited

from gpt.errors import InputError
from gpt.fields import flatten
from gpt.records.run_folder import RunFolder
from gpt.study.folder import StudyFolder
from gpt.study.plan import plan
from gpt.study.study_file import load_study


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_study(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_shipped_study_loads_has_seven_seeds_and_opens_with_its_command(repository: Path) -> None:
    files = sorted((repository / "configs" / "studies").rglob("*.yaml"))
    assert len(files) >= 3
    for path in files:
        study = load_study(path)
        assert len(study.seeds) >= 7 or "baseline" in study.name or study.kind == "components"
        assert f"gpt study run {path.relative_to(repository)}" in path.read_text()
    names = [load_study(path).name for path in files]
    assert len(set(names)) == len(names)


def test_variants_of_every_shipped_study_differ_in_the_factor_alone(repository: Path) -> None:
    for path in (repository / "configs" / "studies").rglob("*.yaml"):
        study = load_study(path)
        runs = [c for c in plan(study, "") if c.seed == study.seeds[0] and c.setting == plan(study, "")[0].setting]
        flat = [flatten(c.config) for c in runs]
        assert {k for k in flat[0] if any(f[k] != flat[0][k] for f in flat)} == {study.factor}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[pre, post]", "[pre]", "variants:"),
        ("[pre, post]", "[pre, pre]", "two variants are the same: both have model.norm_placement = 'pre'"),
        ("[pre, post]", "[pre, mid]", 'model.norm_placement: got "mid"'),
        (
            "[pre, post]",
            "[pre, {model.norm_placement: post, optim.lr: 1e-3}]",
            "variants differ in optim.lr [0.02, 0.001] as well as in the factor model.norm_placement",
        ),
        ("[pre, post]", "[pre, {optim.lr: 2e-2}]", "two variants are the same"),
        ("[pre, post]", "[pre, {optim.lr: 1e-3}]", "variants differ in optim.lr"),
        (
            "[pre, post]",
            "[{model.norm_placement: pre, optim.lr: 1e-3}, {model.norm_placement: post, optim.lr: 1e-3}]",
            "optim.lr is not the factor; what all runs share belongs to the base, or under settings",
        ),
        ("seeds: 3", "seeds: 1", "seeds"),
        ("seeds: 3", "seeds: [4]", "a difference needs at least 2 seeds"),
        ("seeds: 3", "seeds: [1, 2, 1]", "hold a duplicate"),
        ("factor: model.norm_placement", "factor: model.norm_place", "did you mean model.norm_placement?"),
        ("factor: model.norm_placement", "factor: seed", "seed cannot be varied"),
        ("factor: model.norm_placement", "factor: train.checkpoint_every", "cannot be varied"),
        ("factor: model.norm_placement", "factor: data.val_fraction", "cannot be varied"),
        ("factor: model.norm_placement", "factor: train.eval_every", "cannot be varied"),
        ("factor: model.norm_placement", "factor: probes.every", "cannot be varied"),
        ("seeds: 3", "seeds: 3\nmetric: lr.max", "lr.max is neither better high nor low"),
        ("seeds: 3", "seeds: 3\nmetric: val/los.min", "did you mean val/loss.min?"),
        ("seeds: 3", "seeds: 3\nsettings: {optim.lr: [1e-3, 0.001]}", "holds a duplicate"),
        ("seeds: 3", "seeds: 3\nsettings: {optim.lrr: [1e-3]}", "did you mean optim.lr?"),
        ("seeds: 3", "seeds: 3\nsettings: {model.norm_placement: [pre]}", "is the factor"),
        ("base: tiny.yaml", "base: none.yaml", "no such file"),
        ("name: tiny", "name: ../up", "name:"),
        ("name: tiny", "name: Tiny Study", "name:"),
        ("smallest_effect: 0.01", "smallest_effect: 0", "smallest_effect:"),
        ("smallest_effect: 0.01", "smallest_efect: 0.01", "did you mean smallest_effect?"),
    ],
)
def test_a_study_that_answers_nothing_is_refused_by_name(tiny_study: Path, old: str, new: str, expected: str) -> None:
    message = refused(edited(tiny_study, old, new))
    assert expected in message
    assert str(tiny_study.parent) in message


@pytest.mark.parametrize(
    ("variants", "seeds", "expected"),
    [
        ("[0, 1]", "3", "got 2 variants and 3 seeds; where data.order_seed is the factor"),
        ("[0, 1, 2]", "2", "got 3 variants and 2 seeds"),
        ("[0, 1, off]", "3", "hold off, the run's own seed"),
        ("[0, 1, -1]", "3", "data.order_seed"),
        ("[0, 1, 1.5]", "3", "data.order_seed: got 1.5"),
        ("[0, 1, true]", "3", "data.order_seed"),
        ("[0, 1, 1]", "3", "two variants are the same"),
    ],
)
def test_order_seeds_that_make_no_table_are_refused(tiny_study: Path, variants: str, seeds: str, expected: str) -> None:
    edited(tiny_study, "model.norm_placement", "data.order_seed")
    edited(tiny_study, "[pre, post]", variants)
    assert expected in refused(edited(tiny_study, "seeds: 3", f"seeds: {seeds}"))


def test_a_study_of_order_seeds_crosses_them_with_its_seeds_and_is_of_the_other_kind(tiny_study: Path) -> None:
    assert load_study(tiny_study).kind == "contrasts"
    edited(tiny_study, "model.norm_placement", "data.order_seed")
    study = load_study(edited(tiny_study, "[pre, post]", "[0, 7, 9]"))
    assert (study.kind, study.variants) == ("components", (0, 7, 9))
    runs = plan(study, "data")
    assert len({c.fingerprint for c in runs}) == 9
    assert {(c.config.seed, c.config.data.order_seed) for c in runs} == {(s, o) for s in range(3) for o in (0, 7, 9)}


def test_where_both_seeds_are_one_a_run_is_the_one_that_names_no_order(tiny_study: Path) -> None:
    ordinary = {c.fingerprint for c in plan(load_study(tiny_study), "data") if c.variant == "pre"}
    edited(tiny_study, "model.norm_placement", "data.order_seed")
    crossed = plan(load_study(edited(tiny_study, "[pre, post]", "[0, 1, 2]")), "data")
    assert {c.fingerprint for c in crossed if c.variant == c.seed} == ordinary
    assert not {c.fingerprint for c in crossed if c.variant != c.seed} & ordinary


def test_off_and_null_are_one_variant(tiny_study: Path) -> None:
    edited(tiny_study, "model.norm_placement", "optim.clip")
    assert "two variants are the same" in refused(edited(tiny_study, "[pre, post]", "[off, null]"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[pre, post]", "[pre, mid]", "5: model.norm_placement"),
        ("seeds: 3", "seeds: [4]", "6: seeds: got 1 seed"),
        ("seeds: 3", "seeds: 3\nlooks: [3, 2]", "7: looks: got [3, 2]"),
        ("seeds: 3", "seeds: 3\ncontrasts: [[pre, pre]]", "7: contrasts: got 'pre' twice"),
    ],
)
def test_a_refusal_names_the_line(tiny_study: Path, old: str, new: str, said: str) -> None:
    assert refused(edited(tiny_study, old, new)).startswith(f"{tiny_study}:{said}")


def test_runs_are_variants_times_settings_times_seeds(tiny_study: Path) -> None:
    runs = plan(load_study(edited(tiny_study, "seeds: 3", "seeds: [5, 9]\nsettings: {optim.lr: [1e-3, 2e-3]}")), "d")
    assert len({c.fingerprint for c in runs}) == len(runs) == 2 * 2 * 2
    assert [c.seed for c in runs] == [5] * 4 + [9] * 4
    assert {(c.variant, dict(c.setting)["optim.lr"]) for c in runs} == {
        (v, lr) for v in ("pre", "post") for lr in (1e-3, 2e-3)
    }
    assert all(c.config.seed == c.seed and c.config.model.norm_placement == c.variant for c in runs)


def test_studies_that_share_a_variant_share_its_runs(repository: Path) -> None:
    quick = repository / "configs" / "studies" / "quick"
    plans = [{c.fingerprint for c in plan(load_study(path), "data")} for path in sorted(quick.glob("*.yaml"))]
    shared = set.intersection(*plans)
    assert len(shared) == 8
    assert len(set.union(*plans)) == 32


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("[pre, post]", "[pre, peri]", "variants"),
        ("seeds: 3", "seeds: 4", "seeds"),
        ("smallest_effect: 0.01", "smallest_effect: 0.02", "smallest_effect"),
        ("seeds: 3", "seeds: 3\nmetric: test/loss.last", "metric"),
    ],
)
def test_a_study_changed_after_it_was_started_is_refused(
    tmp_path: Path, tiny_study: Path, old: str, new: str, field: str
) -> None:
    folder = StudyFolder(tmp_path / "out", "tiny")
    study = load_study(tiny_study)
    folder.start(study, "data", plan(study, "data"))
    folder.start(study, "data", plan(study, "data"))
    assert folder.read() == study
    changed = load_study(edited(tiny_study, old, new))
    with pytest.raises(InputError, match=f"was started with {field}"):
        folder.start(changed, "data", plan(changed, "data"))
    with pytest.raises(InputError, match="sha256"):
        folder.start(study, "other data", plan(study, "other data"))


def test_a_study_is_judged_by_test_text_where_there_is_some(tiny_study: Path, tiny_file: Path) -> None:
    assert load_study(tiny_study).metric == "test/loss.at_best_val"
    edited(tiny_file, "val_fraction: 0.1", "val_fraction: 0.1, test_share: 0")
    assert load_study(tiny_study).metric == "val/loss.min"


@pytest.mark.parametrize(
    ("share", "metric", "message"),
    [
        (0.5, "val/loss.min", "got val/loss.min, must be test/loss.at_best_val or test/loss.last"),
        (0.5, "heldout/loss.last", "got heldout/loss.last, must be test/loss.at_best_val or test/loss.last"),
        (0.5, "test/loss.min", "would choose the step by the text that is to judge it"),
        (0.5, "train/loss.last", ""),
        (0.5, "test/loss.mean", ""),
        (0, "test/loss.at_best_val", "got test/loss.at_best_val, but the base has no test text"),
        (0, "heldout/loss.min", "got heldout/loss.min, but the base has no test text"),
        (0, "val/loss.last", ""),
    ],
)
def test_a_verdict_is_read_off_text_that_no_choice_reads(
    tiny_study: Path, tiny_file: Path, share: float, metric: str, message: str
) -> None:
    edited(tiny_file, "val_fraction: 0.1", f"val_fraction: 0.1, test_share: {share}")
    tiny_study.write_text(f"{tiny_study.read_text()}metric: {metric}\n")
    if not message:
        assert load_study(tiny_study).metric == metric
        return
    with pytest.raises(InputError, match=rf"study.yaml:\d+: metric: .*{message}"):
        load_study(tiny_study)


@pytest.mark.parametrize("field", ["data.test_share", "data.val_source"])
def test_what_is_measured_cannot_be_varied(tiny_study: Path, field: str) -> None:
    edited(tiny_study, "seeds: 3", f"seeds: 3\nsettings: {{{field}: [0]}}")
    assert f"{field} cannot be varied" in refused(tiny_study)


def test_a_base_run_changed_after_the_start_is_refused(tmp_path: Path, tiny_study: Path, tiny_file: Path) -> None:
    folder = StudyFolder(tmp_path / "out", "tiny")
    study = load_study(tiny_study)
    folder.start(study, "data", plan(study, "data"))
    edited(tiny_file, "batch_size: 8", "batch_size: 5")
    changed = load_study(tiny_study)
    with pytest.raises(InputError, match=r"base\.train\.batch_size = 8, now it is 5"):
        folder.start(changed, "data", plan(changed, "data"))
    assert not RunFolder(tmp_path / "out").status_json.exists()


@pytest.mark.parametrize(
    ("run", "factor", "variants", "settings"),
    [
        ("warmup_steps: 5", "model.norm_placement", "[pre, post]", "{train.steps: [5], optim.warmup_steps: [4]}"),
        ("warmup_steps: 5", "train.steps", "[4, 5]", "{optim.warmup_steps: [1, 2]}"),
        ("width: 16", "model.width", "[48, 60]", "{model.heads: [6]}"),
        ("width: 16", "model.heads", "[3, 6]", "{model.width: [48, 60]}"),
        ("batch_size: 8", "train.batch_size", "[10, 20]", "{train.micro_batch_size: [5]}"),
        ("batch_size: 8", "train.reduction", "[fast, rank_invariant]", "{train.micro_batch_size: [2, 4]}"),
    ],
)
def test_a_study_is_judged_by_its_runs_and_not_field_by_field_beside_the_base(
    tiny_study: Path, tiny_file: Path, run: str, factor: str, variants: str, settings: str
) -> None:
    assert run in tiny_file.read_text()
    edited(tiny_study, "model.norm_placement", factor)
    edited(tiny_study, "[pre, post]", variants)
    study = load_study(edited(tiny_study, "seeds: 3", f"seeds: 3\nsettings: {settings}"))
    configs = [flatten(run.config) for run in plan(study, "data")]
    assert {config[factor] for config in configs} == set(study.variants)
    for key, values in study.settings.items():
        assert {config[key] for config in configs} == set(values)


@pytest.mark.parametrize(
    ("variants", "settings", "line", "expected"),
    [
        ("[48, 60]", "{model.heads: [6, 7]}", 5, "width 48 must be a multiple of heads 7"),
        ("[16, 20]", "{optim.warmup_steps: [0, 40]}", 5, "optim.warmup_steps 40 must be below train.steps 40"),
        ("[16, 20]", "{optim.lr: [1e-3, -1]}", 7, "optim.lr: got -1, must be above 0"),
        ("[16, -2]", "{optim.lr: [1e-3]}", 5, "model.width: got -2, must be at least 1"),
    ],
)
def test_runs_that_cannot_be_are_named_with_line_and_combination(
    tiny_study: Path, variants: str, settings: str, line: int, expected: str
) -> None:
    edited(tiny_study, "model.norm_placement", "model.width")
    edited(tiny_study, "[pre, post]", variants)
    message = refused(edited(tiny_study, "seeds: 3", f"seeds: 3\nsettings: {settings}"))
    assert message.startswith(f"{tiny_study}:{line}: ")
    assert expected in message
    assert "(in the run with " in message
    assert "model.width = " in message
