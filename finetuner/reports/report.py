"""A report: what was found, as data and as a page."""

import html
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetuner.reports.findings import Findings
from finetuner.reports.page import page


@dataclass(frozen=True)
class Report(Findings):
    """What encoders are worth on match data; a notebook shows it as a page."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything as data that JSON can hold, but for pictures: of those the ids and shapes."""
        made: dict[str, Any] = _plain(asdict(self))
        return made

    def as_html(self) -> str:
        """Return the page: one file, which needs neither a network nor a script."""
        return _writable(page(self))

    def save(self, folder: str | Path) -> None:
        """Write ``report.json`` and ``report.html`` into a folder, which is made if it is not there."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        data = json.dumps(self.as_dict(), ensure_ascii=False, indent=1, allow_nan=False)
        for name, text in (("report.json", data + "\n"), ("report.html", self.as_html())):
            aside = path / f"{name}.part"
            aside.write_text(text, encoding="utf-8")
            aside.replace(path / name)

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own, so that its style stays its own."""
        inside = html.escape(self.as_html())
        return f'<iframe title="report" srcdoc="{inside}" style="width:100%;height:48rem;border:0"></iframe>'


def _writable(text: str) -> str:
    """Return a text with half characters, which no encoding knows, written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value: Any) -> Any:
    """Return data without pictures, with None for a number that JSON does not know, and texts that can be written."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if name != "picture"}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return _writable(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
