"""What the records prove about a comparison: that nothing but the factor differed, and that the factor acted."""

from collections.abc import Iterator

from gpt.analysis.findings import Findings, SettingFindings
from gpt.analysis.proof_findings import Treatment
from gpt.analysis.treatment import SAME_START
from gpt.records.formatting import count, listed, percent
from gpt.study.spec import ORDER_SEED

LIMITS = (
    "This shows that the factor acted and where; that each variant is implemented as its name says is for the test "
    "suite to show."
)


def control_text(findings: Findings) -> str:
    """Which fields differ between variants, which may differ otherwise, and whether the text was the same."""
    control = findings.control
    if control.holds is None:
        return "No pair has finished yet."
    tuned = findings.study.tune.grid if findings.study.tune else ()
    own = f", and {listed([f'`{key}`' for key in tuned])}, of which each variant has its own best" if tuned else ""
    allowed = ["`seed`", *(f"`{key}`" for key in findings.study.settings)]
    same = (
        "All runs trained on the same bytes" if len(control.data_sha256) == 1 else "The runs trained on different texts"
    )
    return (
        f"The configurations that {control.runs_compared} finished runs recorded differ between variants in "
        f"{listed([f'`{key}`' for key in control.differing_fields]) or 'nothing'}; apart from that only "
        f"{listed(allowed)} {'varies' if len(allowed) == 1 else 'vary'}{own}. {same} "
        f"(SHA-256 {', '.join(f'`{h[:12]}…`' for h in control.data_sha256)})."
    )


def treatment_texts(findings: Findings, setting: SettingFindings) -> list[str]:
    """What shows that the factor acted, most telling first."""
    treatment = setting.treatment
    if treatment.holds is None:
        return ["No seed has finished in all variants yet."]
    paths = _orders(treatment) if findings.study.factor == ORDER_SEED else _paths(treatment)
    return [*_of_factor(findings.study.factor, setting), paths, _size(setting)]


def _of_factor(factor: str, setting: SettingFindings) -> Iterator[str]:
    if factor == "optim.clip":
        yield " ".join(_clipping(setting))
    if factor == "model.norm_placement":
        yield _placement(setting.treatment)


def _paths(treatment: Treatment) -> str:
    first, parted = treatment.first_step_loss, treatment.paths_part_at_step
    if not first or parted is None:
        return "No seed took a finite first step in all variants, so their paths cannot be compared."
    spread = [max(row) - min(row) for row in first]
    same = sum(s == 0 for s in spread)
    steps = sorted({step for step in parted if step is not None})
    seeds = count(len(first), "seed")
    if same == len(first):
        when = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}" if steps else "no step"
        text = (
            f"At step 1, before any update, the training loss is equal to the last bit in all variants, in {same} of "
            f"{seeds}: the factor has not acted yet. Their paths part at {when}."
        )
    else:
        text = (
            f"At step 1, before any update, the training loss already differs in {len(first) - same} of {seeds}, by "
            f"{min(spread):.2g} to {max(spread):.2g} nats per character: the factor changes the forward pass or the "
            f"initial weights."
        )
    if never := parted.count(None):
        text += f" In {never} of {len(parted)} comparisons the losses never differ: there the factor did nothing."
    return text


def _orders(treatment: Treatment) -> str:
    starts, first = treatment.loss_before_training or [], treatment.first_step_loss or []
    spread = [max(row) - min(row) for row in starts]
    apart = sum(len(set(row)) == len(row) for row in first)
    exact, close = sum(s == 0 for s in spread), all(s <= SAME_START for s in spread)
    seeds, orders = count(len(starts), "initialisation seed"), len(starts[0])
    if exact == len(starts):
        weights = f"the {orders} order seeds have the same validation loss to the last bit, in {exact} of {seeds}"
        meaning = "they start from the same weights"
    elif close:
        weights = f"the {orders} order seeds' validation losses differ by at most {max(spread):.2g}, in all {seeds}"
        meaning = "they start from the same weights and round differently"
    else:
        weights = f"the order seeds' validation losses differ by up to {max(spread):.2g} within one initialisation seed"
        meaning = "they do not start from the same weights"
    between = max(row[0] for row in starts) - min(row[0] for row in starts)
    return (
        f"Before any batch, {weights}: {meaning}. Between initialisation seeds that loss spans {between:.2g} nats per "
        f"character. At step 1 the training loss differs between any two order seeds in {apart} of {seeds}: other "
        f"batches from the first one on."
    )


def _size(setting: SettingFindings) -> str:
    """Parameters and arithmetic, which a factor may bring with it and which are then no secret."""
    variants = setting.variants
    if len({(v.parameters, v.training_flops_per_token) for v in variants}) == 1:
        return (
            f"All variants have {variants[0].parameters:,} parameters and cost "
            f"{variants[0].training_flops_per_token:,} operations per character of training."
        )
    each = [
        f"`{v.label}` has {v.parameters:,} parameters and costs {v.training_flops_per_token:,} operations per character"
        for v in variants
    ]
    return f"The factor also changes the model's size or cost: {'; '.join(each)}."


def _clipping(setting: SettingFindings) -> Iterator[str]:
    """Every variant's share of scaled steps, and whether scaled gradients respect the limit."""
    clipping = setting.treatment.clipping or {}
    for variant in setting.variants:
        own = clipping[variant.label]
        steps = f"{own.scaled:,} of {own.steps:,} steps were scaled ({percent(own.scaled / max(1, own.steps))})"
        if not isinstance(variant.value, float | int):
            yield f"With `{variant.label}` {steps}, which must be none."
            continue
        after = f"no gradient was longer than {own.largest_after:.4f} after clipping"
        yield (f"With the limit {variant.label}, {steps}, and {f'{own.missed} were missed' if own.missed else after}.")
    if any(v.value is not None and clipping[v.label].share == 0 for v in setting.variants):
        yield "A limit that no gradient reached is no treatment: its runs are those without clipping."


def _placement(treatment: Treatment) -> str:
    """Size of the residual stream before training, beside which placements say that they normalise it."""
    if treatment.residual_rms_before_training is None:
        return "The size of the residual stream was not measured (probes are off)."
    parts = [
        f"with `{label}` {' '.join(f'{value:.3f}' for value in rms[1:])}"
        for label, rms in treatment.residual_rms_before_training.items()
    ]
    those = listed([f"`{label}`" for label, does in (treatment.normalises_stream or {}).items() if does]) or "none here"
    return (
        f"Before training, the root mean square of the residual stream after each layer is {listed(parts)}: it must be "
        f"1.000 after every layer where the placement normalises the stream itself ({those}), and only there."
    )
