import torch
from reference import normal, random_tokens

from gpt.model.embedding import Embedding


def filled(seeds: int) -> Embedding:
    embedding = Embedding(seeds, 5, 4)
    with torch.no_grad():
        embedding.weight.copy_(normal(seeds, 5, 4))
    return embedding


def test_each_seed_reads_its_own_table() -> None:
    embedding, tokens = filled(3), random_tokens(3, 2, 6, vocabulary=5)
    vectors = embedding(tokens)
    assert vectors.shape == (3, 2, 6, 4)
    for s in range(3):
        for b in range(2):
            for t in range(6):
                assert torch.equal(vectors[s, b, t], embedding.weight[s, tokens[s, b, t]])


def test_gradients_gather_over_repeated_tokens_of_one_seed() -> None:
    embedding, tokens = filled(3), random_tokens(3, 2, 6, vocabulary=5)
    gradient = normal(3, 2, 6, 4, seed=1)
    embedding(tokens).backward(gradient)
    expected = torch.zeros(3, 5, 4)
    for s in range(3):
        for b in range(2):
            for t in range(6):
                expected[s, tokens[s, b, t]] += gradient[s, b, t]
    torch.testing.assert_close(embedding.weight.grad, expected)


def test_windows_shared_by_all_seeds_need_no_copy() -> None:
    embedding, tokens = filled(3), random_tokens(2, 6, vocabulary=5)
    assert torch.equal(embedding(tokens.expand(3, 2, 6)), embedding(tokens.repeat(3, 1, 1)))
