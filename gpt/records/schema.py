"""The vocabulary of a run's records: the keys of its rows and the kinds of its events."""

TRAIN_LOSS = "train/loss"
VAL_LOSS = "val/loss"
TEST_LOSS = "test/loss"
HELDOUT_LOSS = "heldout/loss"
GRAD_NORM = "grad/norm"
CLIP_SCALE = "grad/clip_scale"
LR = "lr"

LAYER_GRAD_NORM = "grad/layer_norm"
"""Key of a list: each layer's gradient norm before clipping, in the order of `layers` in run.json."""

MICRO_BATCH_GRAD_NORM = "grad/micro_batch_norm"
"""Key of a list: the norm of the mean gradient of each part of the batch, a rank's micro-batch; parts have one size."""

UPDATE_RATIO = "update_ratio"
ATTENTION_ENTROPY = "attention_entropy"
"""Arrays of probed steps that training itself makes, or makes events of."""

WINDOW_LOSS_BEST = "window_loss_best"
WINDOW_LOSS_LAST = "window_loss_last"
"""Arrays of the loss of each held-out window at the lowest validation loss and at the last step."""

WINDOW_IS_TEST = "window_is_test"
"""Array beside them: which windows are of test text."""

NONFINITE = "nonfinite"
SPIKE = "spike"
GRAD_NORM_SPIKE = "grad_norm_spike"
DRIFT = "drift"
OSCILLATION = "oscillation"
ENTROPY_COLLAPSE = "entropy_collapse"
FAST_STEP_LEFT = "fast_step_left"

EVENTS: dict[str, str] = {
    NONFINITE: "a loss or the gradient norm is NaN or infinite",
    SPIKE: "the training loss jumps far above its trend",
    GRAD_NORM_SPIKE: "the gradient norm, before clipping, jumps far above its trend",
    DRIFT: "the training loss has risen slowly above its lowest level, as over a hump or for good",
    OSCILLATION: "the training loss goes up and down in turn",
    ENTROPY_COLLAPSE: "a layer's attention has become so sharp that its heads look at next to one character each",
    FAST_STEP_LEFT: "a compiled step was not finite where the plain one is; the run was computed without it from there",
}
