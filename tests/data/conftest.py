import pytest

from gpt.data.corpus import TINY_SHAKESPEARE, default_cache, load_text


@pytest.fixture(scope="session")
def tiny_shakespeare() -> str:
    return load_text(TINY_SHAKESPEARE, default_cache())[0]
