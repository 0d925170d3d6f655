"""Elements of a page. Whatever is no markup yet is text, and is escaped: nothing that a user wrote becomes markup."""

import html
from collections.abc import Iterable
from typing import TypeAlias

_VOID = ("img", "meta")  # elements without content, which have no end


class Markup(str):
    """Text that is markup already; :func:`element` and :func:`joined` make it, and nobody else."""

    __slots__ = ()


Child: TypeAlias = str | Iterable["Child"] | None
"""A text, markup, several of them, or nothing."""


def element(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Return an element.

    Args:
        name: Its tag.
        children: What is in it; texts are escaped.
        attributes: Values are escaped, and None leaves one out. ``class_`` is written as class, and ``aria_label`` as
            aria-label.
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{told}>" if name in _VOID else f"<{name}{told}>{joined(children)}</{name}>")


def joined(child: Child) -> Markup:
    """Return markup of texts and elements, one after the other."""
    if child is None:
        return Markup()
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return Markup(html.escape(child))
    return Markup("".join(joined(one) for one in child))


def document(head: Child, style: str, body: Child, *, language: str) -> str:
    """Return a whole page.

    Args:
        head: What is in its head, beside the style.
        style: Its style sheet, which holds nothing of a user's.
        body: What is on it.
        language: What it is written in, as ``en``.
    """
    sheet = f"<style>{style}</style>"
    inside = f"<head>{joined(head)}{sheet}</head><body>{joined(body)}</body>"
    return f'<!doctype html>\n<html lang="{html.escape(language)}">{inside}</html>\n'


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(value, 2):g}"
