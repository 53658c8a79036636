"""Claims about studies of several factors, recipes and chosen contrasts: what is planned, compared and refused."""

from pathlib import Path

import pytest
from files import edited

from gpt.errors import InputError
from gpt.fields import flatten
from gpt.study.effects import Effect, comparisons_of, effects_of, pairs_of
from gpt.study.plan import plan
from gpt.study.spec import Study
from gpt.study.study_file import load_study

TWO = "factors: {model.norm_placement: [pre, post], optim.warmup_steps: [0, 5]}"
RECIPES = (
    "recipes: {old: {model.norm: layernorm, model.mlp: gelu}, new: {model.norm: rmsnorm, model.mlp: swiglu}, "
    "mixed: {model.norm: layernorm, model.mlp: swiglu}}"
)


def study_with(path: Path, *lines: str) -> Study:
    """The tiny study with these lines in place of its factor and variants."""
    edited(path, "factor: model.norm_placement\nvariants: [pre, post]\n", "".join(f"{line}\n" for line in lines))
    return load_study(path)


def terms(effect: Effect) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]]]:
    """The cells that are added, and those that are subtracted."""
    return tuple({(arm[0], *(value for _, value in arm[1])) for arm in arms} for arms in (effect.plus, effect.minus))  # type: ignore[return-value]


def test_every_combination_of_the_factors_is_trained(tiny_study: Path) -> None:
    study = study_with(tiny_study, TWO)
    runs = plan(study, "data")
    assert len({run.fingerprint for run in runs}) == len(runs) == 2 * 2 * 3
    cells = {(run.config.model.norm_placement, run.config.optim.warmup_steps) for run in runs}
    assert cells == {("pre", 0), ("pre", 5), ("post", 0), ("post", 5)}


def test_factors_train_the_runs_of_the_study_that_crosses_them_as_settings(tiny_study: Path) -> None:
    names = {run.fingerprint for run in plan(study_with(tiny_study, TWO), "data")}
    edited(
        tiny_study, TWO, "factor: model.norm_placement\nvariants: [pre, post]\nsettings: {optim.warmup_steps: [0, 5]}"
    )
    assert {run.fingerprint for run in plan(load_study(tiny_study), "data")} == names


def test_two_factors_have_two_main_effects_and_an_interaction_beside_the_contrasts(tiny_study: Path) -> None:
    study = study_with(tiny_study, TWO)
    one, other, both = effects_of(study)
    assert [effect.kind for effect in (one, other, both)] == ["main", "main", "interaction"]
    assert terms(one) == ({("post", 0), ("post", 5)}, {("pre", 0), ("pre", 5)})
    assert terms(other) == ({("pre", 5), ("post", 5)}, {("pre", 0), ("post", 0)})
    assert terms(both) == ({("post", 5), ("pre", 0)}, {("post", 0), ("pre", 5)})
    assert [effect.over for effect in (one, other, both)] == [2, 2, 1]
    assert (both.a, both.b) == ("post vs pre at 0", "post vs pre at 5")
    assert comparisons_of(study) == 2 + 3


def test_of_three_factors_interactions_are_averaged_over_the_third(tiny_study: Path) -> None:
    three = TWO.replace("}", ", optim.clip: [1.0, off, 2.0]}")
    effects = effects_of(study_with(tiny_study, three, "settings: {optim.lr: [1.0e-3, 2.0e-3]}"))
    kinds = [effect.kind for effect in effects]
    assert (kinds.count("main"), kinds.count("interaction")) == (2 * (1 + 1 + 2), 2 * (1 + 2 + 2))
    for effect in effects:
        assert (len(effect.plus), len(effect.minus)) == (len(effect.minus), len(effect.plus))
        assert len(effect.plus) == effect.over * (2 if effect.kind == "interaction" else 1)
        assert len({dict(arm[1])["optim.lr"] for arm in (*effect.plus, *effect.minus)}) == 1
        assert dict(effect.setting).keys() == {"optim.lr"}


def test_a_recipe_sets_its_fields_and_is_trained_with_them(tiny_study: Path) -> None:
    study = study_with(tiny_study, RECIPES)
    assert (study.factor, study.variants) == ("recipe", ("old", "new", "mixed"))
    runs = {run.variant: run.config.model for run in plan(study, "data")}
    assert {name: (of.norm, of.mlp) for name, of in runs.items()} == {
        "old": ("layernorm", "gelu"), "new": ("rmsnorm", "swiglu"), "mixed": ("layernorm", "swiglu"),
    }  # fmt: skip
    flat = [flatten(run.config) for run in plan(study, "data")[:2]]
    assert {key for key in flat[0] if flat[0][key] != flat[1][key]} == {"model.norm", "model.mlp"}


def test_a_recipe_can_be_one_of_several_factors_and_a_choice_of_recipes_be_a_factor(tiny_study: Path) -> None:
    study = study_with(tiny_study, RECIPES, "factors: {model.norm_placement: [pre, post], recipe: [new, old]}")
    assert {(run.config.model.norm_placement, run.config.model.norm) for run in plan(study, "data")} == {
        (placement, norm) for placement in ("pre", "post") for norm in ("rmsnorm", "layernorm")
    }
    edited(
        tiny_study,
        "factors: {model.norm_placement: [pre, post], recipe: [new, old]}",
        "factor: recipe\nvariants: [new, old]",
    )
    assert load_study(tiny_study).variants == ("new", "old")


def test_chosen_contrasts_take_the_place_of_those_with_the_first(tiny_study: Path) -> None:
    study = study_with(tiny_study, RECIPES, "contrasts: [[new, mixed], [mixed, old]]")
    assert pairs_of(study) == [(1, 2), (2, 0)]
    assert comparisons_of(study) == 2


def test_a_chosen_pair_of_cells_crosses_settings(tiny_study: Path) -> None:
    study = study_with(tiny_study, TWO, "contrasts: [[pre, post], [[pre, 5], [post, 0]]]")
    assert pairs_of(study) == [(0, 1)]
    chosen = effects_of(study)[-1]
    assert chosen.kind == "chosen"
    assert terms(chosen) == ({("post", 0)}, {("pre", 5)})
    assert comparisons_of(study) == 2 + 3 + 1


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["variants: [pre, post]"], "missing key factor"),
        (["factor: model.norm_placement"], "missing key variants"),
        ([TWO, "factor: optim.clip"], "factors stands in place of factor and variants"),
        (["factors: {model.norm_placement: [pre, post]}"], "factors: got 1, must be at least 2"),
        (["factors: {model.norm_placement: [pre, post], optim.clip: [1.0]}"], "must be a list of at least 2"),
        (["factors: {model.norm_placement: [pre, post], data.order_seed: [0, 1, 2]}"], "must be the only factor"),
        (["factors: {model.norm_placement: [pre, pre], optim.clip: [1.0, off]}"], "two variants are the same"),
        (["factors: {model.norm_placement: [pre, post], optim.clip: [1.0, 1.0]}"], "holds a duplicate"),
        (["factors: {model.norm_placement: [pre, post], optim.lrr: [1.0, 2.0]}"], "did you mean optim.lr?"),
        ([TWO, "settings: {optim.warmup_steps: [3]}"], "optim.warmup_steps is set by a factor"),
        ([TWO, "tune: {optim.warmup_steps: [3, 4], seeds: 1}"], "optim.warmup_steps is set by a factor"),
        (["recipes: {a: {model.norm: layernorm}}"], "recipes: got 1, must be at least 2"),
        (["recipes: {a: {model.norm: layernorm}, b: {model.mlp: relu}}"], "every recipe must set the same fields"),
        (["recipes: {a: {model.norm: layernorm}, b: {model.norm: batchnorm}}"], 'model.norm: got "batchnorm"'),
        (["recipes: {a: {model.norm: layernorm}, b: {model.norm: layernorm}}"], "two variants are the same"),
        (["recipes: {a: {seed: 1}, b: {seed: 2}}"], "seed cannot be varied"),
        ([RECIPES, "factor: optim.clip", "variants: [1.0, off]"], "no factor is named recipe, so none is used"),
        (["factor: recipe", "variants: [a, b]"], "the factor recipe needs `recipes`"),
        ([RECIPES, "factor: recipe", "variants: [old, other]"], "recipe: got 'other', must be one of old, new, mixed"),
        ([RECIPES, "factors: {recipe: [old, new], model.mlp: [gelu, relu]}"], "model.mlp is set by two factors"),
        ([TWO, "contrasts: [[pre, mid]]"], "contrasts: got 'mid', must be among the variants"),
        ([TWO, "contrasts: [[pre, pre]]"], "contrasts: got 'pre' twice"),
        ([TWO, "contrasts: [[pre, post], [pre, post]]"], "one is named twice"),
        ([TWO, "contrasts: [[[pre, 0], post]]"], "must both be of the same kind"),
        ([TWO, "contrasts: [[[pre, 0], [post, 7]]]"], "or one of each of model.norm_placement, optim.warmup_steps"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(tiny_study: Path, lines: list[str], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        study_with(tiny_study, *lines)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tiny_study.parent) in str(caught.value)


FIELDS = {
    "model.norm": "[layernorm, rmsnorm]", "model.mlp": "[gelu, relu]", "model.bias": "[false, true]",
    "model.qk_norm": "[false, true]", "optim.weight_decay": "[0.1, 0.2]", "optim.lr": "[1.0e-3, 2.0e-3]",
    "optim.clip": "[1.0, 2.0]", "train.batch_size": "[8, 4]", "model.init": "[gpt2, xavier]",
}  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_whatever_variants_differ_in_beside_the_factor_is_refused_by_name(tiny_study: Path, field: str) -> None:
    other = FIELDS[field].strip("[]").split(", ")[1]
    with pytest.raises(InputError, match=rf"variants differ in {field} .* as well as in the factor"):
        load_study(edited(tiny_study, "[pre, post]", f"[pre, {{model.norm_placement: post, {field}: {other}}}]"))


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("way", ["settings", "tune", "factors", "recipes"])
def test_in_every_other_place_a_field_varies_for_all_variants_alike(tiny_study: Path, field: str, way: str) -> None:
    factor = "factor: model.norm_placement\nvariants: [pre, post]"
    first, second = FIELDS[field].strip("[]").split(", ")
    low, high = sorted((first, second), key=lambda text: (len(text), text))
    study = study_with(tiny_study, {
        "settings": f"{factor}\nsettings: {{{field}: {FIELDS[field]}}}",
        "tune": f"{factor}\ntune: {{{field}: [{low}, {high}], seeds: 1}}",
        "factors": f"factors: {{model.norm_placement: [pre, post], {field}: {FIELDS[field]}}}",
        "recipes": f"recipes: {{a: {{{field}: {first}}}, b: {{{field}: {second}}}}}\n"
                   f"factors: {{model.norm_placement: [pre, post], recipe: [a, b]}}",
    }[way])  # fmt: skip
    runs = plan(study, "data")
    for variant in study.variants:
        of = [flatten(run.config) for run in runs if run.variant == variant]
        fields = {key for key in of[0] if len({repr(each[key]) for each in of}) > 1}
        assert fields <= {field, "seed"}
    kept = {
        frozenset(repr((key, value)) for key, value in flatten(run.config).items() if key != "model.norm_placement")
        for run in runs
    }
    assert len(kept) * 2 == len(runs)
