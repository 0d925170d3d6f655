"""What ``import finetuner`` offers, and that nothing else is offered by accident."""

from types import ModuleType

import finetuner


def test_the_public_names_are_those_in_all() -> None:
    """A name that is imported into the package but not listed, or the other way round, is found here."""
    public = {
        name
        for name, value in vars(finetuner).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert sorted(public | {"__version__"}) == sorted(finetuner.__all__) == finetuner.__all__


def test_every_public_name_says_what_it_is() -> None:
    """What a user meets first has a docstring of its own."""
    undocumented = [
        name for name in finetuner.__all__ if name != "__version__" and not getattr(finetuner, name).__doc__
    ]
    assert undocumented == []
