"""The page of a report: whole by itself, safe whatever users write, and readable for everybody."""

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from finetuner.documents import Document, labelled
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.reports import Report, report
from finetuner.reports.findings import Tally
from finetuner.reports.markup import Markup, element, joined
from finetuner.reports.words import label, p_value, signed
from finetuner.significance import Difference
from tests.two_classes import encoder, match_documents

HOSTILE = "<script>alert('&amp;\"</script>"


class Page(HTMLParser):
    """Reads a page: its elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that it is the last one that was opened."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of a tag."""
        return [attributes for name, attributes in self.elements if name == tag]


def pictures(seed: int = 0) -> Encoder:
    """Return a small network for pictures of 6 x 4."""
    return build_encoder(EncoderSpec("mlp", {"in_features": 24, "hidden": 4, "dim": 3}), seed=seed)


def picture_documents() -> list[Document]:
    """Return the points of two classes as pictures of 6 x 4, with ids and all that a user might write."""
    documents = match_documents(24)
    whole = {
        one.id: Document(
            id=f"{one.id}{HOSTILE}", blob=np.tile(np.asarray(one.blob)[:, None], (1, 4)), tags=one.tags
        )
        for one in documents
    }
    for one in documents:
        whole[one.id].matches = [
            Document(id=f"{of.id}{HOSTILE}", blob=whole[of.id].blob, tags=of.tags) for of in one.matches
        ]
    return list(whole.values())


@cache
def found() -> Report:
    """Return a report of pictures with everything on it, where users wrote what they should not."""
    documents = picture_documents()
    return report(
        {f"base{HOSTILE}": pictures(1), HOSTILE: pictures(0)},
        documents,
        segments={one.id: HOSTILE for one in documents[:20]},
        events=[{"event": "epoch", "epoch": at, "loss": 1 / at, "validation_map": at / 9} for at in (1, 2)],
        title=HOSTILE,
    )


@cache
def page() -> Page:
    """Return its page."""
    return Page(found().as_html())


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """No script, no link, no address but of data within the page; and the browser is told so."""
    whole = found().as_html()
    assert {tag for tag, _ in page().elements} & {"script", "link", "iframe", "object", "base"} == set()
    assert re.findall(r"https?:|//[a-z]|url\(|@import|javascript:|\son\w+=", whole) == []
    sources = [attributes["src"] for _, attributes in page().elements if "src" in attributes]
    assert len(sources) > 50
    assert all(source is not None and source.startswith("data:image/png;base64,") for source in sources)
    [policy] = [one["content"] for one in page().all("meta") if "http-equiv" in one]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_what_users_write_is_text() -> None:
    """Title, encoders, ids and segments are shown as they were written, and every element is closed in its turn."""
    assert page().open == []
    assert page().text.count(HOSTILE) > 20
    assert f"d0{HOSTILE}" in str([one["alt"] for one in page().all("img")]).replace("\\", "")


def test_everything_that_is_seen_is_told_too() -> None:
    """Pictures have a text, charts a title, tables a caption, and headings do not skip a level."""
    assert all(one["alt"] for one in page().all("img"))
    assert sum(one.get("role") == "img" for one in page().all("svg")) == 2 + 2 + 2  # recall, maps, training
    assert len(page().all("title")) == 1 + 6
    assert all(one.get("aria-hidden") == "true" for one in page().all("svg") if one.get("role") != "img")
    assert len(page().all("caption")) == len(page().all("table")) == 4
    assert {one["scope"] for one in page().all("th")} == {"row", "col"}
    levels = [int(tag[1]) for tag, _ in page().elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_a_page_of_texts_shows_texts() -> None:
    """Each ranking lists them, whatever is in them; long ones are cut."""
    long = "long " * 1000
    texts = {"q": HOSTILE, "good": long, "bad": "b"}
    anchor = Document(id="q", text=texts["q"])
    anchor.matches = [
        Document(id=name, text=texts[name], tags=labelled({}, value))
        for name, value in (("good", 1), ("bad", -1))
    ]
    told = Page(report(build_encoder(EncoderSpec("tests.bag_of_words:bag_of_words")), [anchor]).as_html())
    assert told.all("img") == []
    assert HOSTILE in told.text
    assert "long long" in told.text
    assert long not in told.text


def with_gain(low: float, high: float, anchors: int = 60) -> str:
    """Return the page's text where the interval of the gain is another one."""
    one = found()
    view = one.views[0]
    gain = {**view.differences[f"base{HOSTILE}"], "map": Difference((low + high) / 2, low, high, 0.0123)}
    view = replace(view, anchors=anchors, differences={f"base{HOSTILE}": gain})
    return Page(replace(one, views=(view,)).as_html()).text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.01, 0.3, "better than"), (-0.3, -0.01, "worse than"), (-0.1, 0.3, "not clearly different from")],
)
def test_the_answer_is_that_of_the_interval(low: float, high: float, said: str) -> None:
    """It comes first, in words and with its numbers."""
    text = with_gain(low, high)
    assert f"{HOSTILE} ranks {said} base{HOSTILE}: MAP" in text
    assert f"{signed(low)} to {signed(high)}, p = 0.012)" in text


def test_too_few_anchors_to_tell_is_said() -> None:
    """Five that all gain are chance once in sixteen times; six are enough."""
    assert "So few anchors cannot tell encoders apart" in with_gain(0.1, 0.2, anchors=5)
    assert "So few anchors" not in with_gain(0.1, 0.2, anchors=6)


def test_every_encoder_is_held_against_the_candidate() -> None:
    """With three of them there are two answers, the nearest rival first, and two columns of differences."""
    documents = match_documents(12)
    whole = report({"one": encoder(1), "two": encoder(2), "three": encoder(3)}, documents).as_html()
    text = Page(whole).text
    assert 0 < text.index("three ranks") < text.index("two: MAP") < text.index("one: MAP")
    assert whole.count("three \N{MINUS SIGN} two</th>") == whole.count("three \N{MINUS SIGN} one</th>") == 2


def test_shares_add_up_to_the_whole_bar() -> None:
    """Won, level and lost follow each other without a gap."""
    begins, widths = ([float(one[name] or 0) for one in page().all("rect")] for name in ("x", "width"))
    assert begins == pytest.approx([0, widths[0], widths[0] + widths[1]], abs=0.02)
    assert sum(widths) == pytest.approx(400, abs=0.02)
    tally: Tally = found().views[0].tallies[f"base{HOSTILE}"]
    assert widths[0] == pytest.approx(400 * tally.won / 24, abs=0.01)


def test_a_notebook_shows_the_page_in_a_frame_of_its_own() -> None:
    """The frame holds the whole page, so neither style reaches the other."""
    [(tag, attributes)] = Page(found()._repr_html_()).elements
    assert (tag, attributes["srcdoc"]) == ("iframe", found().as_html())


def test_only_markup_is_not_escaped() -> None:
    """Texts are, in an element as in an attribute, at any depth; nothing is nothing."""
    made = element(
        "p", "<&>", [element("b", '"'), None, ["'"]], title='"<', class_="x", aria_label=None, tabindex=0
    )
    assert made == '<p title="&quot;&lt;" class="x" tabindex="0">&lt;&amp;&gt;<b>&quot;</b>&#x27;</p>'
    assert isinstance(made, Markup)
    assert joined([made, "<"]) == made + "&lt;"


def test_numbers_are_written_with_signs_that_do_not_break() -> None:
    """A minus is a minus sign, 0 has none, and a small p is below a thousandth."""
    minus = "\N{MINUS SIGN}"
    assert (signed(0.1234), signed(-0.5), signed(-0.0004)) == ("+0.123", f"{minus}0.500", "0.000")
    assert (p_value(0.0009), p_value(0.05)) == ("p < 0.001", "p = 0.050")
    assert (label(2), label(-0.5), label(None)) == ("✓ +2", f"✗ {minus}0.5", "?")
