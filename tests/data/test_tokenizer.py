import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.data.tokenizer import CharTokenizer
from gpt.errors import InputError

texts = st.text(st.characters(codec="utf-8")) | st.text("ab\r\n\u0301\u200d\U0001f469\U0001f52c\ufeff\0")
alphabets = texts.filter(lambda text: len(set(text)) >= 2)


@given(text=alphabets)
def test_every_text_it_was_built_on_comes_back(text: str) -> None:
    tokenizer = CharTokenizer.from_text(text)
    tokens = tokenizer.encode(text)
    assert tokens.dtype == np.int64
    assert tokenizer.decode(tokens) == text


@given(text=alphabets)
def test_a_token_is_the_rank_of_its_character(text: str) -> None:
    tokenizer = CharTokenizer.from_text(text)
    alphabet = sorted(set(text))
    assert tokenizer.characters == "".join(alphabet)
    assert tokenizer.vocabulary_size == len(alphabet)
    assert tokenizer.encode(text).tolist() == [alphabet.index(character) for character in text]


@given(text=alphabets, other=texts)
def test_the_first_unknown_character_is_refused(text: str, other: str) -> None:
    tokenizer = CharTokenizer.from_text(text)
    unknown = [position for position, character in enumerate(other) if character not in text]
    if not unknown:
        assert tokenizer.decode(tokenizer.encode(other)) == other
        return
    with pytest.raises(InputError, match=rf" at position {unknown[0]} "):
        tokenizer.encode(other)


def test_an_unknown_character_is_named_with_its_code_point_and_position() -> None:
    with pytest.raises(InputError, match=r"^character '😀' \(U\+1F600\) at position 2 must be among the 2 characters"):
        CharTokenizer.from_text("ab").encode("ab😀b")


def test_a_lone_surrogate_is_an_unknown_character() -> None:
    with pytest.raises(InputError, match=r"^character '\\udc80' \(U\+DC80\) at position 1 "):
        CharTokenizer.from_text("ab").encode("a\udc80")


def test_tiny_shakespeare_has_the_well_known_alphabet(tiny_shakespeare: str) -> None:
    characters = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    tokenizer = CharTokenizer.from_text(tiny_shakespeare)
    assert tokenizer.characters == characters
    assert tokenizer.encode("hii there").tolist() == [46, 47, 47, 1, 58, 46, 43, 56, 43]  # Karpathy, "Let's build GPT"
    assert tokenizer.decode(tokenizer.encode(tiny_shakespeare)) == tiny_shakespeare


@pytest.mark.parametrize("text", ["", "a", "aaaa"])
def test_a_text_of_fewer_than_two_characters_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="must have at least 2 distinct characters"):
        CharTokenizer.from_text(text)


@pytest.mark.parametrize("characters", ["ba", "aab"])
def test_an_alphabet_out_of_order_is_refused(characters: str) -> None:
    with pytest.raises(InputError, match="sorted by code point"):
        CharTokenizer(characters)


@pytest.mark.parametrize("token", [-1, 2])
def test_a_token_outside_the_alphabet_is_not_decoded(token: int) -> None:
    with pytest.raises(AssertionError):
        CharTokenizer("ab").decode([token])


def test_no_tokens_are_no_text() -> None:
    tokenizer = CharTokenizer("ab")
    assert tokenizer.decode([]) == ""
    assert tokenizer.encode("").shape == (0,)
