"""The card of a version: what it is and what it is worth, for people, in Markdown."""

import json
from typing import Any


def card(about: dict[str, Any]) -> str:
    """Return the card of a version.

    Args:
        about: What its ``model.json`` says, but for the hashes.
    """
    lines = [
        f"# Model version {about['version']}",
        "",
        f"- made {about['created']} by finetuner {about['library']}",
        f"- with {', '.join(f'{name} {version}' for name, version in about['made_with'].items() if name != 'finetuner')}",
        f"- encoder: {about['encoder']['name']} {json.dumps(about['encoder']['options'])}",
        f"- parent: {about.get('parent') or 'none, this is a base'}",
        f"- run: {about.get('run') or 'none'}",
    ]
    if (seed := _seed(about)) is not None:
        lines.append(f"- seed: {seed}")
    if recipe := about.get("recipe"):
        lines.append(f"- recipe: {recipe}")
    if options := about.get("options"):
        lines.append(f"- options: {json.dumps(options)}")
    if data := about.get("data"):
        lines.append(f"- match data: {_data(data)}, checksum {data['checksum']}")
    if gate := about.get("gate"):
        lines.append(f"- gate: {'promoted' if gate['promoted'] else 'not promoted'}, {gate['reason']}")
    return "\n".join(lines + _metrics(about.get("evaluation") or {})) + "\n"


def _seed(about: dict[str, Any]) -> object:
    return about.get("seed", (about.get("options") or {}).get("seed"))


def _metrics(evaluation: dict[str, Any]) -> list[str]:
    metrics = evaluation.get("metrics") or {}
    if not metrics:
        return []
    return [
        "",
        f"On {evaluation['anchors']} held-out anchors:",
        "",
        "| metric | " + " | ".join(metrics) + " |",
        "|---" * (len(metrics) + 1) + "|",
        *(
            f"| {name} | " + " | ".join(f"{of_one[name]:.4f}" for of_one in metrics.values()) + " |"
            for name in next(iter(metrics.values()))
        ),
    ]


def _data(data: dict[str, Any]) -> str:
    if data["collection"] is None:
        return "documents that came with the request"
    where = f" at position {data['position']}" if data["position"] else ""
    return f"collection `{data['collection']}`{where} with {json.dumps(data['parameters'])}"
