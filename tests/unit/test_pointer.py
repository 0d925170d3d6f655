"""The pointer: what is active, what was before, what is kept."""

import pytest

from finetuner.errors import RegistryError
from finetuner.lifecycle.pointer import Pointer


def test_a_pointer_comes_back_as_it_was_written() -> None:
    """With all that it tells; one that knows of no kept versions has none."""
    pointer = Pointer("v3", ("v0", "v1"), ("v2",), {"id": "a"})
    assert Pointer.parse(pointer.content(), "here") == pointer
    assert Pointer.parse(b'{"version": "v1", "before": ["v0"]}', "here") == Pointer("v1", ("v0",))


def test_what_is_before_is_a_stack() -> None:
    """A promotion puts the active version on it, a rollback takes it off again; what is kept stays."""
    pointer = Pointer("v0", kept=("v9",)).to("v1").to("v0")
    assert pointer == Pointer("v0", ("v0", "v1"), ("v9",))
    assert pointer.back().back() == Pointer("v0", kept=("v9",))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"version": "v0", "before": 3}'])
def test_what_is_no_pointer_is_refused(content: bytes) -> None:
    """The message says where it lies and what to write there."""
    with pytest.raises(
        RegistryError, match=r'here: not a pointer .*write \{"version": "v0", "before": \[\]\}'
    ):
        Pointer.parse(content, "here")
