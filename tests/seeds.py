"""A study of seeds written by hand: the two seeds' effects are known numbers."""

from synthetic import Outcome, study, write_study

INIT = [0.006, -0.004, 0.001, -0.002, 0.004]
ORDER = [0.002, -0.003, 0.0, 0.001, -0.001]
REST = [
    [0.001, -0.002, 0.0, 0.001, 0.0],
    [-0.001, 0.001, 0.002, -0.001, -0.001],
    [0.0, 0.0, -0.001, -0.001, 0.002],
    [0.002, -0.001, 0.0, 0.001, -0.002],
    [-0.002, 0.002, -0.001, 0.0, 0.001],
]


def value(seed, order):
    """Lowest validation loss of a pair of seeds."""
    return 1.63 + INIT[seed] + ORDER[order] + REST[seed][order]


def outcome(run):
    """A run whose start depends on its first seed alone and whose first batch on both."""
    first = 4.1 + INIT[run.seed] + 0.01 * run.variant
    return Outcome(value(run.seed, run.variant), start=4.17 + INIT[run.seed], first_loss=first)


def diverging(run):
    """The same, but two runs of the first seed 2 diverge, at the orders 1 and 3."""
    found = outcome(run)
    if run.seed == 2 and run.variant in (1, 3):
        found.state, found.why, found.nan_at = "diverged", "train/loss not finite at step 25", 25
    return found


def planned(seeds=5, orders=5, **more):
    return study("data.order_seed", list(range(orders)), seeds=seeds, **{"name": "seeds", **more})


def write(out, outcome=outcome, **more):
    return write_study(out, planned(**more), outcome)
