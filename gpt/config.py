"""The configuration of one run: frozen models, read from YAML.

Every field that can change a number is here and nowhere else; no module reads a global or an environment variable.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import Field, model_validator

from gpt.fields import OFF, set_value
from gpt.plugins import Plugin
from gpt.registry import unknown
from gpt.yaml_file import FieldError, Strict, parse

SOURCE = "data.source"
"""the field whose value is the name of a text, or the path of a file"""
SOURCES = (SOURCE, "data.val_source", "data.test_source")
"""fields that name a text"""

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


Options = dict[str, str | int | float | bool]


class Registered:
    """Marks a field whose values name classes: the package's, which are its literals, or a plug-in's."""


class DataConfig(Strict):
    source: Annotated[Literal["tiny_shakespeare", "asv_bible"] | str, Registered()] = "tiny_shakespeare"
    """a text that has a name, or the path of a UTF-8 text file, relative to the file that names it"""
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """share of the text, at its end, that is held out: not learned from"""
    test_share: Share = 0.5
    """share of the held-out windows, at the end, that verdicts read and no choice does (test text); the rest is
    validation text; 0: no test text
    """
    val_source: Annotated[str | None, OFF] = None
    """path of a text file of its own for validation, with `test_source`; `off`: the source's held-out part"""
    test_source: Annotated[str | None, OFF] = None
    """path of a text file of its own for the test, with `val_source`"""
    tokenizer: Annotated[Literal["characters"] | str, Registered()] = "characters"
    """what of the text becomes one token"""
    order_seed: Annotated[Seed | None, OFF] = None
    """seed behind the order of the batches, so that `seed` stands for all else that is random; `off`: the run's seed"""

    @property
    def has_test(self) -> bool:
        """Some held-out text is kept for verdicts alone."""
        return self.test_source is not None or self.test_share > 0

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of all its texts: what is learned from, and the files of validation and test where it has them."""
        return tuple(name for name in (self.source, self.val_source, self.test_source) if name is not None)

    @model_validator(mode="after")
    def _held_out_once(self) -> Self:
        if (self.val_source is None) != (self.test_source is None):
            given, lacks = ("val", "test") if self.test_source is None else ("test", "val")
            raise ValueError(
                f"{given}_source must come with a {lacks}_source: choices and verdicts each need their text"
            )
        fields = type(self).model_fields
        for name in ("val_fraction", "test_share"):
            if self.val_source is not None and (got := getattr(self, name)) != fields[name].default:
                raise ValueError(
                    f"{name}: got {got:g} beside a val_source, must be left out: nothing of the source is held out then"
                )
        return self

    def order_of(self, seed: int) -> int:
        """The seed that a run's batches are drawn from."""
        return seed if self.order_seed is None else self.order_seed


class ModelConfig(Strict):
    """The shape of a Transformer, and the variant of each of its parts."""

    layers: Positive
    """number of Transformer blocks"""
    heads: Positive
    """attention heads in each block"""
    width: Positive
    """size of the residual stream"""
    context: Positive
    """characters the model can look back on, itself included"""
    position: Annotated[Literal["sinusoidal", "rope", "learned", "alibi", "none"] | str, Registered()]
    """how the order of characters reaches the model"""
    norm: Annotated[Literal["layernorm", "rmsnorm"] | str, Registered()] = "layernorm"
    """kind of normalisation"""
    norm_placement: Annotated[Literal["pre", "post", "peri"] | str, Registered()]
    """before each sublayer, after each residual sum, or on both sides of each sublayer"""
    mlp: Annotated[Literal["gelu", "relu", "swiglu"] | str, Registered()] = "gelu"
    """feed-forward part; SwiGLU has 8/3 of the width inside, the others 4 times the width"""
    qk_norm: bool = False
    """normalise queries and keys per head before their product"""
    bias: bool = False
    """bias terms in the linear and LayerNorm parts"""
    dropout: Share = 0.0
    """share of the activations dropped after the embedding and after each sublayer"""
    tie_embeddings: bool = True
    """the output projection is the token embedding, transposed"""
    init: Annotated[Literal["gpt2", "xavier"] | str, Registered()] = "gpt2"
    """distribution of the initial weights"""
    attention: Literal["fused", "explicit"] = "fused"
    """fused kernel, or the textbook product, mask and softmax"""
    options: Options = Field(default_factory=dict)
    """fields that a plug-in's parts of the model read"""

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        return self


class OptimConfig(Strict):
    """How weights follow gradients."""

    optimizer: Annotated[Literal["adamw"] | str, Registered()] = "adamw"
    """what turns gradients into updates"""
    schedule: Annotated[Literal["cosine"] | str, Registered()] = "cosine"
    """how the learning rate falls after the warm-up"""
    lr: Rate
    """peak learning rate"""
    final_lr_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """learning rate at the last step as a share of `lr`, so that varying `lr` keeps the schedule's shape"""
    warmup_steps: Count
    """steps over which the learning rate grows linearly from near zero"""
    beta1: Share = 0.9
    """decay of the running mean of gradients"""
    beta2: Share = 0.99
    """decay of the running mean of squared gradients"""
    eps: Rate = 1e-8
    """guard against division by zero"""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    """decoupled decay of matrices and embeddings; biases and norms have none"""
    clip: Annotated[Rate | None, OFF] = 1.0
    """largest global gradient norm; larger gradients are scaled down to it; `off` for no clipping"""
    options: Options = Field(default_factory=dict)
    """fields that a plug-in's optimizer or schedule reads"""


class TrainConfig(Strict):
    steps: Positive
    """optimizer steps"""
    batch_size: Positive
    """sequences in each step, over all ranks and micro-batches"""
    micro_batch_size: Annotated[Positive | None, OFF] = None
    """sequences in one forward and backward pass; gradients are added up to the batch; `off`: a rank's whole share"""
    reduction: Literal["fast", "rank_invariant"] = "fast"
    """`rank_invariant` adds the micro-batches' gradients in the order of their numbers: the same bits on any ranks"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """of the matrix products; bf16 is autocast, weights, gradients and optimizer stay in fp32"""
    step: Literal["auto", "eager", "compiled", "graph"] = "eager"
    """how a step is computed: operator by operator, by fused kernels, or by these as one CUDA graph; `auto` measures"""
    deterministic: bool = False
    """on a GPU, too, the same bits at each repetition: slower algorithms where others add up in any order"""
    eval_every: Positive
    """steps between two evaluations of the whole held-out text; the last step is always evaluated"""
    eval_batch_size: Positive = 64
    """held-out windows evaluated at once"""
    checkpoint_every: Positive = 500
    """steps between two checkpoints; the only field that cannot change a result"""

    def is_eval_step(self, step: int) -> bool:
        return step % self.eval_every == 0 or step == self.steps

    @model_validator(mode="after")
    def _micro_batches_fit(self) -> Self:
        if self.micro_batch_size is None and self.reduction == "rank_invariant":
            raise ValueError(
                "reduction rank_invariant needs a micro_batch_size: its gradients are what is added up one by one"
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
    extra: Annotated[tuple[str, ...], Registered()] = ()
    """measurements beside those that every run has, by the names that a plug-in gives them"""
    options: Options = Field(default_factory=dict)
    """fields that a plug-in's probes read"""


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
    plugins: dict[str, Plugin] = Field(default_factory=dict)
    """files of variants; in a run file a list of paths, relative to that file"""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.optim.warmup_steps >= self.train.steps:
            raise ValueError(
                f"optim.warmup_steps {self.optim.warmup_steps} must be below train.steps {self.train.steps}"
            )
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for field, name in self.chosen():
            if name not in (known := self.names(field)):
                raise FieldError(field, unknown(name, known))
        for section in OPEN_SECTIONS:
            known = [option for plugin in self.plugins.values() for option in plugin.options(section)]
            for option in getattr(self, section).options:
                if option not in known:
                    raise FieldError(f"{section}.options", unknown(option, known))
        return self

    def names(self, field: str) -> list[str]:
        """The values that a field may have whose values name classes: the package's, and those of the plug-ins."""
        return [*BUILT_IN[field], *(name for plugin in self.plugins.values() for name in plugin.names(field))]

    def chosen(self) -> Iterator[tuple[str, str]]:
        """Every class that the run chooses, as field and name."""
        for field in BUILT_IN:
            section, key = field.split(".")
            value = getattr(getattr(self, section), key)
            for name in (value,) if isinstance(value, str) else value:
                if field != SOURCE or name in self.names(field):
                    yield field, name

    def used_plugins(self) -> dict[str, Plugin]:
        """The files that bring something that the run has chosen."""
        names = list(self.chosen())
        return {
            file: plugin
            for file, plugin in self.plugins.items()
            if any(name in plugin.names(field) for field, name in names)
        }


def _registered() -> dict[str, tuple[str, ...]]:
    fields = {}
    for section, part in RunConfig.model_fields.items():
        if isinstance(part.annotation, type) and issubclass(part.annotation, Strict):
            for name, info in part.annotation.model_fields.items():
                if any(isinstance(mark, Registered) for mark in info.metadata):
                    literals = [kind for kind in get_args(info.annotation) if get_origin(kind) is Literal]
                    fields[f"{section}.{name}"] = get_args(literals[0]) if literals else ()
    return fields


BUILT_IN = _registered()
"""every field whose values name classes, and those of its values that the package brings"""


OPEN_SECTIONS = ("model", "optim", "probes")
"""sections with `options`, whose keys are those that the classes of plug-ins read"""


def with_values(config: RunConfig, values: Mapping[str, Any], where: str) -> RunConfig:
    """The same run with some fields, named by dotted keys, changed; validated as a file is."""
    data = config.model_dump(mode="json")
    for key, value in values.items():
        set_value(data, key, value, where)
    return parse(RunConfig, data, where)
