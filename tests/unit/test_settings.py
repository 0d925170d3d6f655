"""Options and settings: checked at once, with a message for every fault."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, root_validator

from finetuner.errors import OptionError
from finetuner.settings import OperatorSettings, Options


class Fruit(Options):
    """Options as a test needs them."""

    apples: int = Field(ge=0)
    pears: int | None = None
    weight: float = 1.0
    ripe: bool = False

    @root_validator(skip_on_failure=True)
    def _not_too_many(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values["apples"] > 100 and not values["ripe"]:
            raise ValueError("over 100 apples have to be ripe")
        return values


class Shop(OperatorSettings):
    """Settings as a test needs them."""

    shelves: int = Field(default=3, ge=1)
    prices: dict[str, float] = Field(default_factory=dict)


def fault(**given: Any) -> str:
    """Return the message with which options are refused."""
    with pytest.raises(OptionError) as refused:
        Fruit.parse(given, where="/buy")
    return str(refused.value)


def test_floats_without_a_fraction_are_whole_numbers() -> None:
    """Jina sends every number as a float: 10.0 is ten, and 1.0 is true where a truth is asked for."""
    bought = Fruit.parse({"apples": 10.0, "pears": 2.0, "weight": 2.0, "ripe": 1.0}, where="/buy")
    assert bought.dict() == {"apples": 10, "pears": 2, "weight": 2.0, "ripe": True}
    assert (type(bought.apples), type(bought.pears)) == (int, int)


@pytest.mark.parametrize("value", [10.5, True, float("inf"), float("nan")])
def test_other_values_are_not_cut_to_whole_numbers(value: float) -> None:
    """Half an apple, a truth and infinity are refused, also where the option may be left out."""
    assert fault(apples=value) == f"/buy: option 'apples' is {value!r}: {value!r} is not a whole number"
    assert "is not a whole number" in fault(apples=1, pears=value)


def test_one_message_lists_every_fault() -> None:
    """An unknown name with those that are known, a wrong type and a missing option are told together."""
    assert fault(aples=1, weight="heavy") == (
        "/buy: option 'apples' is missing; option 'weight' is 'heavy': value is not a valid float; "
        "unknown option 'aples'; accepted are apples, pears, ripe, weight"
    )


def test_options_that_do_not_go_together_say_why() -> None:
    """The reason of a check over several options arrives as it was written."""
    assert fault(apples=101) == "/buy: over 100 apples have to be ripe"


def test_options_cannot_be_changed() -> None:
    """What was checked once stays as it was checked."""
    with pytest.raises(TypeError, match="immutable"):
        Fruit(apples=1).apples = -1


def test_an_argument_goes_before_the_environment_and_this_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None means that the operator did not say; 0 and the empty mapping are said."""
    monkeypatch.setenv("FINETUNER_SHELVES", "7")
    monkeypatch.setenv("FINETUNER_PRICES", '{"apple": 0.5}')
    monkeypatch.setenv("FINETUNER_WORKSPACE", "/data")
    found = Shop.from_operator(shelves=None)
    assert (found.shelves, found.prices, found.workspace) == (7, {"apple": 0.5}, Path("/data"))
    said = Shop.from_operator(shelves=2, prices={})
    assert (said.shelves, said.prices) == (2, {})
    monkeypatch.delenv("FINETUNER_SHELVES")
    assert Shop.from_operator().shelves == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shelves": 0}, "shelves (FINETUNER_SHELVES): ensure this value is greater than or equal to 1"),
        ({"shelves": 2.5}, "shelves (FINETUNER_SHELVES): 2.5 is not a whole number"),
        ({"shelfs": 2}, "shelfs (FINETUNER_SHELFS): extra fields not permitted"),
    ],
)
def test_a_wrong_setting_is_named_with_its_variable(arguments: dict[str, Any], message: str) -> None:
    """The operator is told both ways in which the setting could have come."""
    with pytest.raises(OptionError) as refused:
        Shop.from_operator(**arguments)
    assert str(refused.value) == f"settings: {message}"


@pytest.mark.parametrize(("name", "value"), [("FINETUNER_SHELVES", "many"), ("FINETUNER_PRICES", "{cheap}")])
def test_a_wrong_variable_is_an_option_error(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A word where a number belongs, and a mapping that is no JSON, are reported under the variable's name."""
    monkeypatch.setenv(name, value)
    with pytest.raises(OptionError, match=rf"settings: .*(?i:{name})"):
        Shop.from_operator()


def test_a_name_may_be_a_whole_number() -> None:
    """What a client sent as 7, and Jina made 7.0 of, is the name 7."""

    class Named(Options):
        run: str

    assert Named.parse({"run": 7.0}, where="/runs").run == "7"
