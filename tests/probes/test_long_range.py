"""Claims about the use of context: losses by position and by what is cut off, gradients by distance."""

import pytest
import torch
from reference import POSITIONS, model_config, random_model, random_tokens

from gpt.model.gpt import GPT, token_losses
from gpt.probes.long_range import context_lengths, gradient_by_distance, long_range

CONTEXT = 12


def longer(position: str, context: int = 2 * CONTEXT) -> GPT:
    return random_model(model_config(position=position, context=context, layers=2))


@pytest.mark.parametrize(
    ("context", "lengths"), [(1, [1]), (2, [1, 2]), (12, [1, 2, 4, 8, 12]), (64, [1, 2, 4, 8, 16, 32, 64])]
)
def test_context_lengths_double_up_to_the_trained_context(context: int, lengths: list[int]) -> None:
    assert context_lengths(context) == lengths


@pytest.mark.parametrize("position", [p for p in POSITIONS if p != "learned"])
def test_everything_equals_its_naive_definition(position: str) -> None:
    model, windows = longer(position), random_tokens(7, 2 * CONTEXT + 1)
    found = long_range(model, windows, CONTEXT, together=3)
    logits = model(windows[None, :, :-1])[0]
    torch.testing.assert_close(
        found["loss_by_position"], token_losses(logits, windows[None, :, 1:])[0].mean(0), atol=1e-5, rtol=0
    )
    for length, loss in zip(found["context_lengths"].tolist(), found["context_loss"], strict=True):
        seen = windows[None, :, CONTEXT - length : CONTEXT]
        last = torch.log_softmax(model(seen)[0][0, :, -1], dim=-1)
        naive = -last[torch.arange(7), windows[:, CONTEXT]].mean()
        torch.testing.assert_close(loss, naive, atol=1e-5, rtol=0)


def test_the_loss_of_a_target_after_the_whole_context_is_the_loss_by_position_there() -> None:
    model, windows = longer("rope"), random_tokens(7, 2 * CONTEXT + 1)
    found = long_range(model, windows, CONTEXT, together=64)
    torch.testing.assert_close(found["context_loss"][-1], found["loss_by_position"][CONTEXT - 1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("position", ["learned", "rope"])
def test_the_gradient_by_distance_is_the_change_of_the_loss_by_finite_differences(position: str) -> None:
    """Moving the embedding of one position along its gradient changes the loss by the gradient's norm."""
    model = longer(position, CONTEXT).double()
    windows = random_tokens(2, CONTEXT + 1)
    norms_NX = gradient_by_distance(model, windows)
    step = 1e-6
    for back in (0, 1, CONTEXT - 1):
        at = CONTEXT - 1 - back
        gradient = torch.zeros(2, model.embedding.weight.shape[-1], dtype=torch.float64)
        for d in range(gradient.shape[1]):
            moved = []
            for sign in (1, -1):

                def nudge(module: object, args: object, out: torch.Tensor, by: float = sign * step, d: int = d) -> None:
                    out[0, :, at, d] += by  # noqa: B023 - removed before the loop goes on

                hook = model.embedding.register_forward_hook(nudge)
                with torch.no_grad():
                    last = torch.log_softmax(model(windows[None, :, :-1])[0][0, :, -1], dim=-1)
                hook.remove()
                moved.append(-last[torch.arange(2), windows[:, -1]])
            gradient[:, d] = (moved[0] - moved[1]) / (2 * step)
        torch.testing.assert_close(norms_NX[:, back], gradient.norm(dim=1), rtol=1e-5, atol=1e-9)


def test_a_model_that_cannot_look_back_depends_on_the_last_character_alone() -> None:
    model, windows = longer("none"), random_tokens(6, 2 * CONTEXT + 1)
    with torch.no_grad():
        for block in model.blocks:
            block.attention.out.weight.zero_()
    found = long_range(model, windows, CONTEXT, together=64)
    assert found["dependency"][0] > 0
    assert (found["dependency"][1:] == 0).all()
    torch.testing.assert_close(found["context_loss"], found["context_loss"][-1:].expand(5), atol=1e-6, rtol=0)


def test_measuring_leaves_no_gradient_in_the_model() -> None:
    model = longer("rope")
    long_range(model, random_tokens(3, 2 * CONTEXT + 1), CONTEXT, together=2)
    assert all(parameter.grad is None for parameter in model.parameters())
