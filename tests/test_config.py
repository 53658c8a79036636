"""Claims about reading run files."""

import re
from pathlib import Path

import pytest
from files import edited

from gpt.config import RunConfig, with_values
from gpt.errors import InputError
from gpt.fields import flatten, keys_of
from gpt.fingerprint import WITHOUT_EFFECT, as_recorded, fingerprint
from gpt.run_file import read_run_file
from gpt.study.study_file import load_study
from gpt.yaml_file import parse


def refused(path: Path, *overrides: str) -> str:
    """The one line that a run file or its overrides are answered with."""
    with pytest.raises(InputError) as caught:
        read_run_file(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_shipped_run_file_loads_and_names_every_field(repository: Path) -> None:
    files = sorted((repository / "configs" / "runs").glob("*.yaml"))
    assert files
    for path in files:
        assert path.read_text().startswith("# "), f"{path.name} must open with what it is and how to start it"
        shipped = set(flatten(read_run_file(path)))
        assert shipped == set(keys_of(RunConfig))


def test_the_studies_base_differs_from_nanogpts_recipe_in_its_positions_alone(repository: Path) -> None:
    runs = repository / "configs" / "runs"
    nanogpt, small = flatten(read_run_file(runs / "nanogpt_cpu.yaml")), flatten(read_run_file(runs / "char_small.yaml"))
    assert {k for k in nanogpt if nanogpt[k] != small[k]} == {"model.position"}


def test_the_nanogpt_recipe_is_the_documented_one(repository: Path) -> None:
    values = flatten(read_run_file(repository / "configs" / "runs" / "nanogpt_cpu.yaml"))
    documented = {
        "model.layers": 4, "model.heads": 4, "model.width": 128, "model.context": 64, "train.batch_size": 12,
        "train.steps": 2000, "optim.lr": 1e-3, "optim.final_lr_ratio": 0.1, "optim.warmup_steps": 100,
        "optim.beta1": 0.9, "optim.beta2": 0.99, "optim.weight_decay": 0.1, "optim.clip": 1.0,
        "model.dropout": 0.0, "model.bias": False,
        "model.position": "learned", "model.norm_placement": "pre",
    }  # fmt: skip
    assert {key: values[key] for key in documented} == documented


def test_scientific_notation_is_a_number(tiny_file: Path) -> None:
    assert read_run_file(edited(tiny_file, "lr: 2e-2,", "lr: 1e-3,")).optim.lr == 0.001


@pytest.mark.parametrize("word", ["off", "null", "~"])
def test_clipping_is_switched_off_by_off_and_by_null(tiny_file: Path, word: str) -> None:
    assert read_run_file(edited(tiny_file, "clip: 1.0", f"clip: {word}")).optim.clip is None


def test_an_unknown_key_is_answered_with_file_line_and_the_nearest_key(tiny_file: Path) -> None:
    message = refused(edited(tiny_file, "warmup_steps", "warmup_step"))
    assert f"{tiny_file}:3: unknown key optim.warmup_step; did you mean optim.warmup_steps?" in message


def test_a_key_in_the_wrong_section_is_answered_with_its_place(tiny_file: Path) -> None:
    message = refused(edited(tiny_file, "data: {", "lr: 1e-3\ndata: {"))
    assert message == f"{tiny_file}:1: unknown key lr; did you mean optim.lr?"


def test_a_duplicate_key_is_refused_with_its_line(tiny_file: Path) -> None:
    message = refused(edited(tiny_file, "optim: {lr: 2e-2,", "optim: {lr: 2e-2, lr: 1e-3,"))
    assert f"{tiny_file}:3:" in message
    assert "duplicate key" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("steps: 40", "steps: forty", 'train.steps: got "forty", must be a whole number'),
        ("steps: 40", 'steps: "40"', 'train.steps: got "40", must be a whole number'),
        ("steps: 40", "steps: 40.5", "train.steps: got 40.5, must be a whole number"),
        ("steps: 40", "steps: true", "train.steps: got true, must be a whole number"),
        ("steps: 40", "steps: 0", "train.steps: got 0, must be at least 1"),
        ("lr: 2e-2", "lr: .nan", "optim.lr:"),
        ("lr: 2e-2", "lr: -1", "optim.lr: got -1, must be above 0"),
        ("clip: 1.0", "clip: 0", "optim.clip: got 0, must be above 0 or off"),
        ("clip: 1.0", "clip: none", 'optim.clip: got "none", must be a number or off'),
        (
            "position: rope",
            "position: rop",
            'model.position: got "rop", must be one of sinusoidal, rope, learned, alibi, none; did you',
        ),
        ("width: 16", "width: 15", "width 15 must be a multiple of heads 2"),
        ("warmup_steps: 5", "warmup_steps: 40", "optim.warmup_steps 40 must be below train.steps 40"),
        ("final_lr_ratio: 0.1", "final_lr_ratio: 2", "optim.final_lr_ratio: got 2, must be at most 1"),
        ("batch_size: 8", "batch_size: 8, micro_batch_size: 3", "must be a multiple of micro_batch_size 3"),
        (
            "batch_size: 8",
            "batch_size: 8, reduction: rank_invariant",
            "reduction rank_invariant needs a micro_batch_size",
        ),
        ("layers: 2, ", "", "missing key model.layers"),
        (
            "batch_size: 8",
            "batch_size: 8, reduction: ordered",
            "train.reduction: ordered was renamed; write rank_invariant instead",
        ),
    ],
)
def test_a_wrong_value_is_answered_with_key_value_and_rule(tiny_file: Path, old: str, new: str, expected: str) -> None:
    message = refused(edited(tiny_file, old, new))
    assert expected in message
    assert str(tiny_file) in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "must hold keys and values, got nothing"),
        (b"- 1\n", "must hold keys and values, got list"),
        (b"a: [1\n", "not valid YAML"),
        (b"a: \xff\n", "not UTF-8 text (byte 3)"),
        (b"? [1, 2]\n: 3\n", "every key must be plain text"),
        (b"!!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    assert expected in refused(path)


def test_a_study_is_no_run_file_and_a_run_file_no_study(tiny_study: Path, tiny_file: Path) -> None:
    with pytest.raises(InputError, match=r"study\.yaml: is a study, must be a run file; `gpt study run \S+` trains it"):
        read_run_file(tiny_study)
    with pytest.raises(InputError, match=r"tiny\.yaml: is a run file, must be a study; `gpt train \S+` trains it"):
        load_study(tiny_file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.yaml").endswith("none.yaml: no such file")
    assert "cannot be read" in refused(tmp_path)


def test_overrides_are_read_as_the_file_is(tiny_file: Path) -> None:
    config = read_run_file(tiny_file, ["--optim.lr", "1e-3", "--optim.clip=off", "--model.position", "none"])
    assert (config.optim.lr, config.optim.clip, config.model.position) == (0.001, None, "none")


@pytest.mark.parametrize(
    "prompt", ["ROMEO:", "# hi", "\n", "- a", "a: b", "[1", "off", "0x1F", "--x=y", "\ta", "null", "'"]
)
def test_a_text_field_takes_the_word_as_it_stands(tiny_file: Path, prompt: str) -> None:
    assert read_run_file(tiny_file, ["--sample.prompt", prompt]).sample.prompt == prompt
    assert read_run_file(tiny_file, [f"--sample.prompt={prompt}", "--seed", "3"]).sample.prompt == prompt


def test_only_the_file_with_its_overrides_must_be_valid(tiny_file: Path) -> None:
    edited(tiny_file, "layers: 2, ", "")
    edited(tiny_file, "width: 16", "width: 15")
    config = read_run_file(tiny_file, ["--model.layers", "3", "--model.heads=3", "--model.position=none"])
    assert (config.model.layers, config.model.width, config.model.heads) == (3, 15, 3)
    message = refused(tiny_file, "--model.layers", "3")
    assert message == f"{tiny_file} with --model.layers 3: model: width 15 must be a multiple of heads 2"
    edited(tiny_file, "batch_size: 8", "batch_size: -8")
    assert refused(tiny_file, "--model.layers", "3", "--model.width=16").startswith(f"{tiny_file}:4: train.batch_size")


def test_a_text_files_path_is_relative_to_the_file_that_names_it(
    tiny_file: Path, excerpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "corpus.txt").write_bytes(excerpt.read_bytes())
    edited(tiny_file, str(excerpt), "corpus.txt")
    monkeypatch.chdir(elsewhere)
    for path in (tiny_file, Path("..") / tiny_file.name):
        source = Path(read_run_file(path).data.source)
        assert source.is_absolute()
        assert source.samefile(tmp_path / "corpus.txt")
    assert read_run_file(tiny_file, ["--data.source", "mine.txt"]).data.source == str(elsewhere / "mine.txt")
    assert read_run_file(tiny_file, ["--data.source", "tiny_shakespeare"]).data.source == "tiny_shakespeare"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["--optim.lrr", "1"], "--optim.lrr: unknown key; did you mean --optim.lr?"),
        (["--optim.lr"], "overrides must come as --key value"),
        (["optim.lr", "1"], "overrides must come as --key value"),
        (["--optim.lr", "fast"], 'optim.lr: got "fast", must be a number'),
        (["--optim", "1"], "--optim: unknown key"),
        (["--seed", "-1"], "seed: got -1, must be at least 0"),
    ],
)
def test_a_wrong_override_is_named(tiny_file: Path, overrides: list[str], expected: str) -> None:
    assert expected in refused(tiny_file, *overrides)


def test_configurations_are_frozen(tiny: RunConfig) -> None:
    with pytest.raises(ValueError, match="frozen"):
        tiny.optim.lr = 1.0  # type: ignore[misc]  # the very mistake that must be refused


def test_every_field_but_the_checkpoint_interval_changes_the_fingerprint(tiny: RunConfig) -> None:
    other = {
        "seed": 1, "data.val_fraction": 0.2, "data.test_share": 0.25,
        "model.layers": 3, "model.heads": 4, "model.width": 32, "model.context": 8,
        "model.position": "learned", "model.norm": "rmsnorm", "model.norm_placement": "post", "model.mlp": "relu",
        "model.qk_norm": True, "model.bias": True, "model.dropout": 0.1, "model.tie_embeddings": True,
        "model.init": "xavier", "model.attention": "explicit", "optim.lr": 1e-3, "optim.final_lr_ratio": 0.2,
        "optim.warmup_steps": 6, "optim.beta1": 0.8, "optim.beta2": 0.95, "optim.eps": 1e-9, "optim.weight_decay": 0.0,
        "optim.clip": None, "train.steps": 41, "train.batch_size": 5, "train.micro_batch_size": 4,
        "train.reduction": "rank_invariant", "train.precision": "bf16", "train.step": "compiled",
        "train.deterministic": True,
        "train.eval_every": 10, "train.eval_batch_size": 8, "probes.noise_scale": True, "probes.every": 10,
        "probes.windows": 3, "probes.heatmap_characters": 9,
        "data.order_seed": 1, "probes.long_range_windows": 5, "sample.prompt": "A", "sample.characters": 21,
        "sample.temperature": 1.0,
    }  # fmt: skip
    of_plugins_alone = {"data.tokenizer", "optim.optimizer", "optim.schedule", "probes.extra"}  # tests/test_plugins.py
    assert set(other) == set(keys_of(RunConfig)) - WITHOUT_EFFECT - of_plugins_alone
    needs = {"train.reduction": {"train.micro_batch_size": 2}}
    prints = [
        fingerprint(with_values(tiny, {key: value, **needs.get(key, {})}, "test"), "data")
        for key, value in other.items()
    ]
    assert len({fingerprint(tiny, "data"), *prints}) == len(prints) + 1


def test_an_order_seed_that_is_the_runs_own_makes_no_other_run(tiny: RunConfig) -> None:
    said = with_values(tiny, {"data.order_seed": 3, "seed": 3}, "test")
    unsaid = with_values(tiny, {"seed": 3}, "test")
    assert fingerprint(said, "data") == fingerprint(unsaid, "data")
    assert said.data.order_of(3) == unsaid.data.order_of(3) == 3
    assert fingerprint(with_values(tiny, {"data.order_seed": 2, "seed": 3}, "test"), "data") != fingerprint(
        said, "data"
    )


def test_a_run_of_before_there_was_test_text_is_one_without(tiny: RunConfig) -> None:
    """Its name, and what its configuration means that was written down without the field."""
    before = with_values(tiny, {"data.test_share": 0.0}, "test")
    written = before.model_dump(mode="json")
    for name in ("test_share", "val_source", "test_source"):
        del written["data"][name]
    read = parse(RunConfig, as_recorded(written), "test")
    assert read == before
    assert fingerprint(read, "data") == fingerprint(before, "data") != fingerprint(tiny, "data")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("val_source: v.txt", "data: val_source must come with a test_source"),
        ("test_source: t.txt", "data: test_source must come with a val_source"),
        ("val_source: v.txt, test_source: t.txt, test_share: 0", "data: test_share: got 0 beside a val_source"),
        ("val_source: v.txt, test_source: t.txt, val_fraction: 0.2", "data: val_fraction: got 0.2 beside a val_source"),
    ],
)
def test_held_out_text_comes_from_one_place(tiny_file: Path, given: str, message: str) -> None:
    text = re.sub("data: {.*}", f"data: {{source: text.txt, {given}}}", tiny_file.read_text())
    tiny_file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_run_file(tiny_file)


def test_every_text_is_found_beside_the_run_file(tiny_file: Path) -> None:
    own = "source: a.txt, val_source: b.txt, test_source: c.txt"
    tiny_file.write_text(re.sub("data: {.*}", f"data: {{{own}}}", tiny_file.read_text()))
    data = read_run_file(tiny_file, ["--data.test_source", "d.txt"]).data
    assert data.texts == (*(str(tiny_file.parent / name) for name in ("a.txt", "b.txt")), str(Path("d.txt").absolute()))


def test_data_counts_by_its_content_and_not_by_its_name(tiny: RunConfig) -> None:
    renamed = with_values(tiny, {"data.source": "elsewhere.txt"}, "test")
    assert fingerprint(renamed, "data") == fingerprint(tiny, "data") != fingerprint(tiny, "other data")
    rarer = with_values(tiny, {"train.checkpoint_every": 40}, "test")
    assert fingerprint(rarer, "data") == fingerprint(tiny, "data")


def test_the_fingerprint_of_a_configuration_never_moves(repository: Path) -> None:
    config = read_run_file(repository / "configs" / "runs" / "char_small.yaml")
    assert fingerprint(config, "0" * 64) == "382ce4b081bbb6b9"
