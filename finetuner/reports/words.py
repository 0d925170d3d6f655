"""Numbers and names as the page writes them."""

MINUS = "\N{MINUS SIGN}"
_NAMES = {"map": "MAP", "mrr": "MRR", "map@r": "MAP@R", "r_precision": "R-precision"}


def metric_name(metric: str) -> str:
    """Return a metric's name as it is written for people: ``ndcg@5`` is nDCG@5."""
    return _NAMES.get(metric, metric.replace("ndcg", "nDCG"))


def count(number: int, what: str) -> str:
    """Return how many there are of something, in the plural unless it is one."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def signed(number: float) -> str:
    """Return a difference with its sign and three digits; 0 has none."""
    return f"{number:+.3f}".replace("-", MINUS) if round(number, 3) else "0.000"


def percent(share: float) -> str:
    """Return a share as it is written for people, on one line: 0.95 is 95 %."""
    return f"{100 * share:g}\N{NO-BREAK SPACE}%"


def p_value(p: float) -> str:
    """Return a p-value with three digits, or what it is below."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def label(value: float | None) -> str:
    """Return a label with its sign, with a mark that tells it without colour; a question mark for none."""
    if value is None:
        return "?"
    return f"✓ {value:+g}" if value > 0 else f"✗ {value:+g}".replace("-", MINUS)


def kind_of(value: float | None) -> str:
    """Return ``positive``, ``negative`` or ``unjudged``."""
    if value is None:
        return "unjudged"
    return "positive" if value > 0 else "negative"
