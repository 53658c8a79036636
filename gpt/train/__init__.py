"""The training loop and what it needs: engines, optimizers, evaluation, checkpoints, events, samples."""
