"""The configuration of one run: frozen models, read from YAML, every error with its file, line and key.

Every field that can change a number is here and nowhere else; no module reads a global or an environment variable.
Study files (`gpt.study.spec`) are read by the same functions, so that both kinds of file answer a mistake alike.
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from gpt.errors import InputError

WITHOUT_EFFECT = frozenset({"train.checkpoint_every", "data.source"})
"""fields that cannot change a number: how often a run is made durable, and a name for data that count by their hash"""

KeyPath = tuple[str | int, ...]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Strict(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)


def _off_is_none(value: Any) -> Any:
    return None if value == "off" else value


class DataConfig(Strict):
    source: str = "tiny_shakespeare"
    """`tiny_shakespeare`, or the path of a UTF-8 text file"""
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """share of the text, at its end, that is held out for validation"""
    order_seed: Annotated[Seed | None, BeforeValidator(_off_is_none)] = None
    """seed behind the order of the batches, so that `seed` stands for all else that is random; `off`: the run's seed"""

    def order_of(self, seed: int) -> int:
        """The seed that a run's batches are drawn from."""
        return seed if self.order_seed is None else self.order_seed


class ModelConfig(Strict):
    layers: Positive
    """number of Transformer blocks"""
    heads: Positive
    """attention heads in each block"""
    width: Positive
    """size of the residual stream"""
    context: Positive
    """characters the model can look back on, itself included"""
    position: Literal["sinusoidal", "rope", "learned", "alibi", "none"]
    """how the order of characters reaches the model"""
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    """kind of normalisation"""
    norm_placement: Literal["pre", "post", "peri"]
    """before each sublayer, after each residual sum, or on both sides of each sublayer"""
    mlp: Literal["gelu", "relu", "swiglu"] = "gelu"
    """feed-forward part; SwiGLU has 8/3 of the width inside, the others 4 times the width"""
    qk_norm: bool = False
    """normalise queries and keys per head before their product"""
    bias: bool = False
    """bias terms in the linear and LayerNorm parts"""
    dropout: Share = 0.0
    """share of the activations dropped after the embedding and after each sublayer"""
    tie_embeddings: bool = True
    """the output projection is the token embedding, transposed"""
    init: Literal["gpt2", "xavier"] = "gpt2"
    """distribution of the initial weights"""
    attention: Literal["fused", "explicit"] = "fused"
    """fused kernel, or the textbook product, mask and softmax"""

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.position == "rope" and self.head_width % 2:
            raise ValueError(f"rope needs an even head width, got width / heads = {self.head_width}")
        if self.position == "sinusoidal" and self.width % 2:
            raise ValueError(f"sinusoidal positions need an even width, got {self.width}")
        return self


class OptimConfig(Strict):
    """AdamW (Loshchilov and Hutter 2019), linear warm-up, cosine decay."""

    lr: Rate
    """peak learning rate"""
    final_lr_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """learning rate at the last step as a share of `lr`, so that varying `lr` keeps the schedule's shape"""
    warmup_steps: Count
    """steps over which the learning rate grows linearly from near zero"""
    beta1: Share = 0.9
    """decay of AdamW's mean of gradients"""
    beta2: Share = 0.99
    """decay of AdamW's mean of squared gradients"""
    eps: Rate = 1e-8
    """AdamW's guard against division by zero"""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    """decoupled decay of matrices and embeddings; biases and norms have none"""
    clip: Annotated[Rate | None, BeforeValidator(_off_is_none)] = 1.0
    """largest global gradient norm; larger gradients are scaled down to it; `off` for no clipping"""


class TrainConfig(Strict):
    steps: Positive
    """optimizer steps"""
    batch_size: Positive
    """sequences in each step, over all ranks and micro-batches"""
    micro_batch_size: Annotated[Positive | None, BeforeValidator(_off_is_none)] = None
    """sequences in one forward and backward pass; gradients are added up to the batch; `off`: a rank's whole share"""
    reduction: Literal["fast", "rank_invariant"] = "fast"
    """`ordered` adds the gradients of the micro-batches in the order of their numbers: the same bits on any ranks"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """of the matrix products; bf16 is autocast, weights, gradients and optimizer stay in fp32"""
    eval_every: Positive
    """steps between two evaluations of the whole validation split; the last step is always evaluated"""
    eval_batch_size: Positive = 64
    """validation windows evaluated at once"""
    checkpoint_every: Positive = 500
    """steps between two checkpoints; the only field that cannot change a result"""

    def is_eval_step(self, step: int) -> bool:
        return step % self.eval_every == 0 or step == self.steps

    @model_validator(mode="after")
    def _micro_batches_fit(self) -> Self:
        if self.micro_batch_size is None and self.reduction == "rank_invariant":
            raise ValueError(
                "reduction rank_invariant needs a micro_batch_size: its gradients are what is added in order"
            )
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of micro_batch_size {self.micro_batch_size}"
            )
        return self


class ProbeConfig(Strict):
    every: Count = 100
    """steps between two measurements of activations, attention and updates; 0 for none"""
    windows: Positive = 8
    """validation windows that activations and attention are measured on"""
    heatmap_characters: Positive = 32
    """characters of the first window whose attention weights are kept as heatmaps"""
    noise_scale: bool = False
    """record the gradient norm of every part of the batch (a rank's micro-batch), for the gradient noise scale"""
    long_range_windows: Count = 128
    """validation windows that the use of context is measured on, once, at the end of a run; 0 for none"""


class SampleConfig(Strict):
    prompt: Annotated[str, Field(min_length=1)] = "\n"
    """text that generation starts from"""
    characters: Count = 300
    """characters generated at the end of a run; 0 for none"""
    temperature: Rate = 0.8
    """divides the logits before sampling"""


class RunConfig(Strict):
    """Everything that determines one training run."""

    seed: Seed = 0
    """the one seed behind initial weights, batch order, dropout and sampling"""
    data: DataConfig = DataConfig()
    model: ModelConfig
    optim: OptimConfig
    train: TrainConfig
    probes: ProbeConfig = ProbeConfig()
    sample: SampleConfig = SampleConfig()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.optim.warmup_steps >= self.train.steps:
            raise ValueError(
                f"optim.warmup_steps {self.optim.warmup_steps} must be below train.steps {self.train.steps}"
            )
        return self


class Document:
    """A YAML file as plain data, with the line of every key."""

    def __init__(self, path: Path, data: dict[str, Any], lines: Mapping[KeyPath, int]):
        self.path = path
        self.data = data
        self.lines = lines

    def where(self, key: KeyPath) -> str:
        """`file:line` of the key, or of the nearest enclosing key that the file holds."""
        while key and key not in self.lines:
            key = key[:-1]
        return f"{self.path}:{self.lines[key]}" if key else str(self.path)


ConfigT = TypeVar("ConfigT", bound=Strict)


def read_yaml(path: Path) -> Document:
    """Read one YAML 1.2 file.

    Raises:
        InputError: the file is missing, unreadable, not UTF-8, not YAML, has a duplicate key, or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    yaml = YAML(typ="safe", pure=True)
    try:
        data = yaml.load(text)
        lines = dict(_key_lines(yaml.compose(text)))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not valid YAML: {' '.join(str(error.problem).split())}") from None
    except (YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold keys and values, got {'nothing' if data is None else type(data).__name__}")
    return Document(path, data, lines)


def _key_lines(node: Node | None, prefix: KeyPath = ()) -> Iterable[tuple[KeyPath, int]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            path = (*prefix, str(key.value))
            yield path, key.start_mark.line + 1
            yield from _key_lines(value, path)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            path = (*prefix, index)
            yield path, value.start_mark.line + 1
            yield from _key_lines(value, path)


def parse(cls: type[ConfigT], data: Mapping[str, Any], where: Document | str) -> ConfigT:
    """Validate plain data as `cls`.

    Args:
        where: the document the data came from, or words that say it, for the error line.

    Raises:
        InputError: names the place, the key, what was got, what must hold and, for an unknown key, the nearest one.
    """
    try:
        text = json.dumps(data, default=str)
    except TypeError:
        raise InputError(f"{where if isinstance(where, str) else where.path}: every key must be plain text") from None
    try:
        return cls.model_validate_json(text)
    except ValidationError as error:
        # a misspelt key is also a missing one; the spelling is what the user can mend
        first, *others = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        location: KeyPath = tuple(first["loc"])
        known = _known_prefix(cls, location)
        place = where.where(location) if isinstance(where, Document) else where
        more = f" (and {len(others)} more)" if others and not _same_field(cls, location, others) else ""
        raise InputError(f"{place}: {_explain(cls, known, location, first)}{more}") from None


def _known_prefix(cls: type[BaseModel], location: KeyPath) -> KeyPath:
    """The part of a pydantic location that names keys of the file (unions add labels of their own)."""
    keys: list[str | int] = []
    fields: type[BaseModel] | None = cls
    for part in location:
        if isinstance(part, int):
            keys.append(part)
        elif fields is not None:
            keys.append(part)
            info = fields.model_fields.get(part)
            kind = info.annotation if info else None
            fields = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return tuple(keys)


def _same_field(cls: type[BaseModel], location: KeyPath, others: Sequence[Any]) -> bool:
    return all(_known_prefix(cls, tuple(o["loc"])) == _known_prefix(cls, location) for o in others)


def _explain(cls: type[BaseModel], known: KeyPath, location: KeyPath, error: Any) -> str:
    name = dotted(known)
    if error["type"] == "extra_forbidden":
        near = nearest_key(cls, name)
        return f"unknown key {name}" + (f"; did you mean {near}?" if near else "")
    if error["type"] == "missing":
        return f"missing key {name}"
    if error["type"] == "value_error":
        return (f"{name}: " if name else "") + str(error["ctx"]["error"])
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{name}: got {json.dumps(error['input'], default=str)}, {message.replace('input should', 'must')}"


def dotted(path: KeyPath) -> str:
    """`("optim", "lr")` as `optim.lr`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


def keys_of(cls: type[BaseModel], prefix: str = "") -> list[str]:
    """The dotted name of every field, nested ones in place of their parents."""
    keys = []
    for name, info in cls.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += keys_of(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def nearest_key(cls: type[BaseModel], name: str) -> str | None:
    """The known key most like `name`: by its whole name, else by its last part."""
    keys = keys_of(cls)
    sections = {key.rsplit(".", 1)[0] for key in keys if "." in key}
    close = difflib.get_close_matches(name, [*keys, *sections], n=1, cutoff=0.75)
    if close:
        return close[0]
    last = {key.rsplit(".", 1)[-1]: key for key in reversed(keys)}
    close = difflib.get_close_matches(name.rsplit(".", 1)[-1], last, n=1, cutoff=0.7)
    return last[close[0]] if close else None


def flatten(config: BaseModel) -> dict[str, Any]:
    """Every field by its dotted name, values as JSON has them."""

    def walk(values: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{name}.")
            else:
                yield prefix + name, value

    return dict(walk(config.model_dump(mode="json"), ""))


def with_values(config: RunConfig, values: Mapping[str, Any], where: str) -> RunConfig:
    """The same run with some fields, named by dotted keys, changed; validated as a file is."""
    data = config.model_dump(mode="json")
    for key, value in values.items():
        _set(data, key, value, where)
    return parse(RunConfig, data, where)


def _set(data: dict[str, Any], key: str, value: Any, where: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise InputError(f"{where}: unknown key {key}: {section} has no keys below it")
    data[last] = value


def load_run(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run file and lay `--key value` pairs over it; values are read as YAML reads them.

    Raises:
        InputError: see `read_yaml` and `parse`.
    """
    document = read_yaml(path)
    config = parse(RunConfig, document.data, document)
    values = read_overrides(overrides)
    for key in values:
        if key not in keys_of(RunConfig):
            near = nearest_key(RunConfig, key)
            raise InputError(f"--{key}: unknown key" + (f"; did you mean --{near}?" if near else ""))
    return with_values(config, values, f"{path} with {' '.join(overrides)}") if values else config


def read_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """`["--optim.lr", "3e-4"]` or `["--optim.lr=3e-4"]` as `{"optim.lr": 0.0003}`."""
    words = [word for argument in arguments for word in _split_equals(argument)]
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise InputError(f"got {' '.join(arguments)}: overrides must come as --key value")
    scalar = YAML(typ="safe", pure=True)
    values: dict[str, Any] = {}
    for key, word in zip(words[::2], words[1::2], strict=True):
        try:
            values[key[2:]] = scalar.load(word)
        except YAMLError:
            raise InputError(f"{key}: got {word!r}, which is no YAML value") from None
    return values


def _split_equals(argument: str) -> list[str]:
    return argument.split("=", 1) if argument.startswith("--") and "=" in argument else [argument]


def canonical(value: Any) -> str:
    """One text per value: sorted keys, no spaces, floats as their shortest decimal."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(config: RunConfig, data_sha256: str) -> str:
    """16 hex digits over everything that can change the numbers of a run; two equal runs are one run."""
    fields = {key: value for key, value in flatten(config).items() if key not in WITHOUT_EFFECT}
    fields["data.order_seed"] = config.data.order_of(config.seed)  # said or left out, it is the same run
    return hashlib.sha256(canonical({"config": fields, "data": data_sha256}).encode()).hexdigest()[:16]
