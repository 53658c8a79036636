"""Compiled steps are the plain ones; a fault of a kernel is never taken for the run's own."""

import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
import torch
from needs import go_without
from reference import VOCABULARY, run_config, text
from torch import Tensor

from gpt.config import RunConfig
from gpt.data.batches import consecutive_windows, training_batch
from gpt.errors import InputError
from gpt.records.schema import FAST_STEP_LEFT
from gpt.train.engines import compiled
from gpt.train.engines.compiled import CompiledEngine
from gpt.train.engines.ddp import data_parallel
from gpt.train.engines.engine import State, StepOut
from gpt.train.engines.ranks import Ranks
from gpt.train.engines.single_process import SingleProcessEngine
from gpt.train.engines.step_modes import available_modes, check_step
from gpt.train.optim.schedule import learning_rate
from gpt.train.step_metrics import StepMetrics

CPU = torch.device("cpu")
TRAIN = text(4000)
WINDOWS = torch.from_numpy(consecutive_windows(text(250)[::-1].copy(), 12))
BOUND = 1e-5


@pytest.fixture
def _traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The graphs that the compiler sees, computed operator by operator: to write their kernels takes a minute."""
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch as it imports its compiler
        yield


def train(engine: SingleProcessEngine, first: int, last: int, watch: bool = False) -> list[StepOut]:
    """Some steps, each after an evaluation and a probe if they are watched."""
    config, outs = engine.config, []
    for step in range(first, last + 1):
        batch = training_batch(TRAIN, engine.seeds, step, range(config.train.batch_size), config.model.context)
        lr = learning_rate(step, config.train.steps, config.optim)
        outs.append(engine.train_step(step, torch.from_numpy(batch), lr, measure_updates=watch))
        if watch:
            engine.evaluate(WINDOWS[:3])
            engine.observe(WINDOWS[:2, :-1], ["residual", "attention"])
    engine.settle()
    return outs


def assert_close(ours: list[StepOut], theirs: list[StepOut]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        for name in ("loss_S", "grad_norm_S", "layer_grad_norm_SL", "clip_scale_S", "micro_batch_norm_SM"):
            if getattr(other, name) is not None:
                torch.testing.assert_close(getattr(mine, name), getattr(other, name), rtol=BOUND, atol=1e-7)
        assert (mine.update_ratio_SL is None) == (other.update_ratio_SL is None)


VARIANTS = [
    {"position": "learned", "norm_placement": "post", "dropout": 0.2},
    {"position": "rope", "norm_placement": "pre", "mlp": "swiglu", "norm": "rmsnorm"},
    {"position": "alibi", "norm_placement": "peri", "bias": True, "qk_norm": True, "tie_embeddings": False},
]


@pytest.mark.usefixtures("_traced")
@pytest.mark.parametrize(("variant", "seeds"), [(VARIANTS[0], (3, 0)), (VARIANTS[1], (3,)), (VARIANTS[2], (3, 0))])
def test_a_compiled_step_is_the_plain_one_with_probes_and_evaluations_between(
    variant: dict[str, object], seeds: tuple[int, ...]
) -> None:
    config = run_config(optim={"clip": 0.5}, **variant)
    plain, fast = (kind(config, VOCABULARY, seeds, CPU) for kind in (SingleProcessEngine, CompiledEngine))
    expected = train(plain, 1, 5, watch=True)
    assert_close(train(fast, 1, 5, watch=True), expected)
    for name, weight in plain.weights().items():
        torch.testing.assert_close(fast.weights()[name], weight, rtol=1e-4, atol=2e-5)
    assert fast.take_events() == []


@pytest.mark.usefixtures("_traced")
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_micro_batches_and_their_norms_are_the_plain_ones(dropout: float) -> None:
    config = run_config(train={"micro_batch_size": 2}, dropout=dropout, layers=1)
    config = config.model_copy(update={"probes": config.probes.model_copy(update={"noise_scale": True})})
    plain, fast = (kind(config, VOCABULARY, (3, 0), CPU) for kind in (SingleProcessEngine, CompiledEngine))
    assert_close(train(fast, 1, 3), train(plain, 1, 3))


@pytest.mark.slow
def test_the_kernels_that_the_compiler_writes_give_the_plain_numbers() -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        go_without("compiler", "torch.compile needs a C++ compiler")
    config = run_config(dropout=0.2, norm_placement="post", layers=1)
    plain, fast = (kind(config, VOCABULARY, (3, 0), CPU) for kind in (SingleProcessEngine, CompiledEngine))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch as it imports its compiler
        assert_close(train(fast, 1, 3, watch=True), train(plain, 1, 3, watch=True))


@pytest.mark.usefixtures("_traced")
def test_nothing_is_compiled_again_for_later_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.testing import CompileCounter

    graphs = CompileCounter()
    monkeypatch.setattr(compiled, "BACKEND", graphs)
    fast = CompiledEngine(run_config(dropout=0.3, layers=1), VOCABULARY, (3, 0), CPU)
    train(fast, 1, 5, watch=True)
    assert graphs.frame_count == 2, "the loss, and the norms with clipping"


@pytest.mark.usefixtures("_traced")
def test_a_state_goes_from_one_way_to_the_other() -> None:
    config = run_config(dropout=0.1, layers=1)
    plain, fast = (kind(config, VOCABULARY, (3, 0), CPU) for kind in (SingleProcessEngine, CompiledEngine))
    train(fast, 1, 4)
    state: State = {name: value.clone() for name, value in fast.state().items()}
    plain.load(4, state)
    assert_close(train(fast, 5, 7), train(plain, 5, 7))


# Faults of kernels

FAULTY = torch.library.Library("gpt_test", "DEF")
FAULTY.define("kernel(Tensor x) -> Tensor")
BROKEN_FROM: list[float] = []
"""empty while the kernel works; else it gives NaN"""


def kernel(x: Tensor) -> Tensor:
    return x.clone() if not BROKEN_FROM else x * float("nan")


FAULTY.impl("kernel", kernel, "CPU")
FAULTY.impl("kernel", torch.empty_like, "Meta")


class Kernel(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: object, x: Tensor) -> Tensor:
        return torch.ops.gpt_test.kernel(x)

    @staticmethod
    def backward(_ctx: object, *gradients: Tensor) -> Tensor:
        return torch.ops.gpt_test.kernel(gradients[0])


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch, _traced: None) -> Iterator[None]:
    """A compiled loss that goes through a kernel which the plain one does not have."""
    token_losses = compiled.token_losses
    monkeypatch.setattr(compiled, "token_losses", lambda logits, targets: Kernel.apply(token_losses(logits, targets)))
    yield
    BROKEN_FROM.clear()


def bits(state: State) -> dict[str, Tensor]:
    return {name: value.clone().view(torch.int32) for name, value in state.items()}


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("watch", [False, True])
def test_a_planted_fault_of_a_kernel_is_found_computed_again_and_named(watch: bool) -> None:
    config = run_config(dropout=0.1, norm_placement="post", layers=1)
    plain, fast = (kind(config, VOCABULARY, (3, 0), CPU) for kind in (SingleProcessEngine, CompiledEngine))
    sound = train(fast, 1, 3, watch)
    assert fast.take_events() == []
    BROKEN_FROM.append(4)
    broken = train(fast, 4, 8, watch)
    assert fast.take_events() == [{"step": 4, "kind": FAST_STEP_LEFT, "engine": "single process, compiled"}]
    assert fast.take_events() == []
    expected = train(plain, 1, 8, watch)
    assert_close([*sound, *broken], expected)
    for out, same in zip(broken, expected[3:], strict=True):
        assert (out.update_ratio_SL is None) == (same.update_ratio_SL is None)
        if out.update_ratio_SL is not None:
            torch.testing.assert_close(out.update_ratio_SL, same.update_ratio_SL, rtol=1e-3, atol=0)


@pytest.mark.usefixtures("faulty")
def test_rows_that_left_before_a_fault_was_seen_are_put_right() -> None:
    """Of a block of steps that is on its way, and of the one after it, whose evaluation settles both."""
    config = run_config(dropout=0.1, layers=1)
    plain, fast = (kind(config, VOCABULARY, (3, 0), CPU) for kind in (SingleProcessEngine, CompiledEngine))
    BROKEN_FROM.append(1)
    steps = []
    for step in range(1, 7):
        batch = torch.from_numpy(training_batch(TRAIN, (3, 0), step, range(4), 12))
        lr = learning_rate(step, config.train.steps, config.optim)
        steps.append((step, lr, fast.train_step(step, batch, lr, measure_updates=False)))
    sent = [StepMetrics(steps[:3], fast), StepMetrics(steps[3:], fast)]
    assert fast.corrections == 0, "nobody has looked"
    fast.evaluate(WINDOWS[:3])
    assert (fast.corrections, len(fast.take_events())) == (1, 1)
    expected = train(plain, 1, 6)
    rows_S = [first + second for first, second in zip(sent[0].rows(), sent[1].rows(), strict=True)]
    for index, rows in enumerate(rows_S):
        assert [row["step"] for row in rows] == list(range(1, 7))
        for row, out in zip(rows, expected, strict=True):
            assert row["train/loss"] == pytest.approx(float(out.loss_S[index]), rel=BOUND)
            assert row["grad/layer_norm"] == pytest.approx(out.layer_grad_norm_SL[index].tolist(), rel=BOUND)


@pytest.mark.usefixtures("faulty")
def test_a_step_that_is_not_finite_moves_nothing() -> None:
    fast = CompiledEngine(run_config(dropout=0.1, layers=1), VOCABULARY, (3, 0), CPU)
    train(fast, 1, 3)
    before = bits(fast.state())
    BROKEN_FROM.append(4)
    for step in (4, 5):
        batch = torch.from_numpy(training_batch(TRAIN, (3, 0), step, range(4), 12))
        fast.optimizer.found_inf = fast._held
        fast._fast(fast.dropout_words.at(step), batch, 1e-3)
        BROKEN_FROM.clear()  # the next one is sound, and still moves nothing
    for name, value in bits(fast.state()).items():
        assert torch.equal(value, before[name]), name


@pytest.mark.usefixtures("faulty")
def test_a_run_that_diverges_by_itself_is_no_fault_and_leaves_the_others_fast() -> None:
    """A weight of one seed is spoilt: the plain step agrees that this seed is not finite, and nothing is named."""
    config = run_config()
    plain, fast = (kind(config, VOCABULARY, (3, 0), CPU) for kind in (SingleProcessEngine, CompiledEngine))
    for engine in (plain, fast):
        train(engine, 1, 2)
        engine.settle()
        with torch.no_grad():
            engine.parameters["embedding.weight"][1].fill_(float("nan"))
    outs = train(fast, 3, 6)
    assert fast.take_events() == []
    assert all(out.loss_S.isfinite().tolist() == [True, False] for out in outs)
    for mine, other in zip(outs, train(plain, 3, 6), strict=True):
        torch.testing.assert_close(mine.loss_S[0], other.loss_S[0], rtol=BOUND, atol=0)
    BROKEN_FROM.append(7)
    train(fast, 7, 7)
    assert [event["step"] for event in fast.take_events()] == [7], "the seed that is left is still watched"


@pytest.mark.usefixtures("_traced")
def test_a_run_whose_compiled_steps_were_at_fault_goes_on_without() -> None:
    config = run_config()
    plain, fast = (kind(config, VOCABULARY, (3, 0), CPU) for kind in (SingleProcessEngine, CompiledEngine))
    fast.leave_fast_path()
    for mine, other in zip(train(fast, 1, 3), train(plain, 1, 3), strict=True):
        assert torch.equal(mine.layer_grad_norm_SL, other.layer_grad_norm_SL)


# What is refused


def stepped(mode: str, **more: object) -> RunConfig:
    return run_config(train={"step": mode, **more})


def test_what_a_device_or_several_ranks_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match=r"train.step: got graph, must be auto, eager or compiled on cpu"):
        check_step(stepped("graph"), CPU, 1)
    with pytest.raises(InputError, match=r"train.step: got compiled, must be auto or eager where 2 ranks"):
        data_parallel(stepped("compiled"), VOCABULARY, (0,), CPU, Ranks(0, 2))
    explicit = run_config(train={"step": "compiled"}, attention="explicit")
    with pytest.raises(InputError, match=r"must be auto or eager with model.attention explicit"):
        check_step(explicit, CPU, 1)
    assert available_modes(explicit, CPU, 1) == ["eager"]
    for mode in ("auto", "eager"):
        check_step(stepped(mode), CPU, 2)
    assert available_modes(stepped("auto"), CPU, 1) == ["eager", "compiled"]
    assert available_modes(stepped("auto"), torch.device("cuda"), 1) == ["eager", "compiled", "graph"]
    assert available_modes(stepped("auto"), CPU, 2) == ["eager"]


def test_training_as_ever_imports_no_compiler() -> None:
    code = (
        "import sys, torch\nfrom reference import run_config, VOCABULARY, random_tokens\n"
        "from gpt.train.engines.ddp import data_parallel\n"
        "engine = data_parallel(run_config(), VOCABULARY, (0,), torch.device('cpu'))\n"
        "engine.train_step(1, random_tokens(1, 4, 13), 1e-3, measure_updates=True)\n"
        "assert 'torch._dynamo' not in sys.modules and 'torch._inductor' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path), "PATH": ""})
