"""HTML of a report: escaped text, tables, tiles, pictures inline. Nothing is fetched when it is read."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #20262e; --faint: #66707d; --line: #dfe4ea; --page: #f6f7f9;
  --card: #ffffff; --codec: #1f5fd0; --baseline: #d97a1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --faint: #9aa4b1; --line: #333b46;
  --page: #14181d; --card: #1c2128; --codec: #6ea0ff; --baseline: #f0a050; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 36px 20px 60px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 18px; margin: 40px 0 12px; }
p { margin: 6px 0; } .faint { color: var(--faint); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(155px, 1fr)); gap: 12px;
  margin: 24px 0 0; }
.tile, figure, .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 14px 16px; } .tile b { display: block; font-size: 24px; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; } .tile span { color: var(--faint); font-size: 13px; }
.tile.lead b { color: var(--codec); }
figure { margin: 0 0 14px; padding: 12px; background: #fff; }
figure img { display: block; width: 100%; height: auto; }
figcaption { color: #66707d; font-size: 13px; padding: 8px 4px 0; }
.card { padding: 4px 16px; overflow-x: auto; margin: 0 0 14px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 8px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; } th { color: var(--faint); font-weight: 500; font-size: 13px; }
th:first-child, td:first-child, .text td, .text th { text-align: left; overflow-wrap: anywhere; }
.bar { display: flex; height: 14px; border-radius: 7px; overflow: hidden; background: var(--line);
  margin: 14px 0 10px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; color: var(--faint);
  margin-bottom: 12px; }
.legend i, .bar i { display: inline-block; }
.legend i { width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }
pre { font: 12.5px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-x: auto; margin: 10px 0; }
summary { cursor: pointer; padding: 8px 0; }
@media print { :root { color-scheme: light; --page: #fff; --card: #fff; --ink: #000; --line: #ccc; }
  body { font-size: 11px; } main { max-width: none; padding: 0; }
  figure, .card, .tile, tr { break-inside: avoid; } h2 { break-after: avoid; } }
"""
PARTS = ("var(--codec)", "#c9a227", "#3f9c7a", "#a06cb8", "#8d99a8", "#c2603f")
"""Colours of the parts of a bar."""


def page(title: str, lead: str, sections: Iterable[str]) -> str:
    """A whole document."""
    body = "\n".join(sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="faint">{escape(lead)}</p>\n{body}\n</main>\n</body>\n</html>\n'
    )


def section(title: str, *parts: str) -> str:
    """A heading and what belongs under it; nothing where there is nothing."""
    body = "\n".join(part for part in parts if part)
    return f"<h2>{escape(title)}</h2>\n{body}" if body else ""


def tiles(figures: Sequence[tuple[str, str]]) -> str:
    """Headline figures as (value, meaning); the first stands out."""
    kinds = ["tile lead", *["tile"] * len(figures)]
    cells = (
        f'<div class="{kind}"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for kind, (value, name) in zip(kinds, figures, strict=False)
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text: bool = False) -> str:
    """A table; `text` aligns all columns to the left. Nothing where there are no rows."""
    if not rows:
        return ""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    kind = ' class="text"' if text else ""
    return (
        f'<div class="card"><table{kind}><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>'
    )


def picture(png: bytes | None, caption: str) -> str:
    """An inline picture; nothing where there is none."""
    if png is None:
        return ""
    data = base64.b64encode(png).decode()
    text = escape(caption)
    image = f'<img alt="{text}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def bar(parts: Sequence[tuple[str, float, str]]) -> str:
    """Shares of a whole as (name, size, text)."""
    total = sum(size for _, size, _ in parts) or 1.0
    colours = [PARTS[i % len(PARTS)] for i in range(len(parts))]
    pieces = "".join(
        f'<i style="width:{100 * size / total:.2f}%;background:{colour}"></i>'
        for (_, size, _), colour in zip(parts, colours, strict=True)
    )
    names = "".join(
        f'<span><i style="background:{colour}"></i>{escape(name)} {escape(text)}</span>'
        for (name, _, text), colour in zip(parts, colours, strict=True)
    )
    return f'<div class="card"><div class="bar">{pieces}</div><div class="legend">{names}</div></div>'


def note(text: str) -> str:
    """A paragraph."""
    return f'<p class="faint">{escape(text)}</p>'


def folded(title: str, text: str) -> str:
    """Preformatted text that opens on a click."""
    body = f"<summary>{escape(title)}</summary><pre>{escape(text)}</pre>"
    return f'<div class="card"><details>{body}</details></div>'
