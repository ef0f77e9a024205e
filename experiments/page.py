"""The report as one HTML file that needs no network: summary, figures, notes, numbers."""

import html
import json
from collections.abc import Sequence
from typing import Any

import vl_convert

from . import summary
from .claims import claim, text
from .figures import Figure
from .figures.colours import Palette, coloured
from .page_parts import SCRIPT, STYLE
from .results import Row, judged, measured

_TABLE = {
    "series": "series",
    "seed": "seed",
    "level": "level",
    "control": "control",
    "remaining": "% remaining",
    "early_stop_iteration": "early stop",
    "early_stop_accuracy": "{data} {metric} there{unit}",
    "final_accuracy": "final {data} {metric}{unit}",
    "train_accuracy": "final training {metric}{unit}",
}
_TEXTS = ("network", "series", "control")
_RULE = (
    "A ticket wins if its {metric} at early stop is not below the dense network's by more than may "
    "be chance (±, 95 % for the examples judged by), and it stopped early no later; the paper's "
    "rule has no ±. With several seeds: mean (smallest to largest). * stopped early at the first "
    "or last evaluation: still learning, or evaluated too seldom."
)


def render(
    title: str,
    outcomes: Sequence[summary.Outcome],
    notes: list[str],
    figures: list[Figure],
    levels: list[Row],
    claims: Sequence[claim.Judged] = (),
) -> str:
    """Returns the page.

    Args:
        title: its heading.
        outcomes: what every series came to.
        notes: paragraphs that are folded away.
        figures: what to draw; each chart is as wide as the screen lets it be.
        levels: rows of `results.level_rows`, for the table at the end.
        claims: what the paper's claims came to; those that were run are a table.
    """
    sections = "".join(_section(figure) for figure in figures)
    paragraphs = "".join(f"<p>{html.escape(note)}</p>\n" for note in notes)
    # Its type does not say that the snippet has a default.
    libraries = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
{_summary(outcomes, levels)}
{_legend(figures[0].colours)}
{sections}
{_claims(claims)}
<details><summary>Notes on {len(notes)} runs</summary>
{paragraphs}</details>
<details><summary>Numbers of {len(levels)} trainings</summary>
<div class="scroll">{_numbers(levels)}</div>
</details>
<script type="module">
{libraries}
{SCRIPT}
</script>
</body>
</html>
"""


def _summary(outcomes: Sequence[summary.Outcome], levels: list[Row]) -> str:
    metric, unit = measured(levels)
    data = judged(levels).lower()
    head = [title.format(f"{data} {metric}{unit}") for title in summary.HEAD]
    rows = [summary.cells(outcome) for outcome in outcomes]
    rule = _RULE.format(metric=f"{data} {metric}")
    return (
        f'<div class="scroll" id="summary">{_table(head, rows, texts=(0, 1))}</div>\n'
        f'<p class="note">{html.escape(rule)}</p>'
    )


def _claims(claims: Sequence[claim.Judged]) -> str:
    """Returns a table of the claims that were run, "" without any."""
    ran = [judged for judged in claims if judged.values]
    if not ran:
        return ""
    rows = [[judged.claim.network, *text.cells(judged)] for judged in ran]
    lines = "".join(f"<br>* {html.escape(line)}" for line in text.reductions(ran))
    table = _table(("network", *text.HEAD), rows, texts=(0, 1, 2, 6, 7))
    return f'<div class="scroll">{table}</div>\n<p class="note">{html.escape(text.RULE)}{lines}</p>'


def _legend(colours: Palette) -> str:
    """Returns one legend for the page; a click on an entry shows it alone, another all again."""
    of = {"series": "Series: click one to see it alone", "remaining": "% of weights remaining"}
    parts = []
    for field, known in colours.items():
        if len(known) > 1:
            buttons = "".join(
                f'<button type="button" aria-pressed="false" data-field="{field}" '
                f'data-value="{html.escape(str(_plain(value)))}">'
                f'<i style="background:{colour}"></i>{html.escape(str(_plain(value)))}</button>\n'
                for value, colour in known.items()
            )
            parts.append(
                f'<div class="legend"><span class="of">{of[field]}</span>\n{buttons}</div>'
            )
    return "\n".join(parts)


def _section(figure: Figure) -> str:
    charts = []
    for number, chart in enumerate(figure.charts):
        name = f"{figure.name}-{number}"
        spec = coloured(
            chart.properties(width="container", height="container").to_dict(), figure.colours
        )
        heading = _text_of(spec.pop("title", ""))
        # "</" would end the script element early.
        content = json.dumps(spec).replace("</", "<\\/")
        charts.append(
            f'<div class="panel"><h3>{html.escape(heading)}</h3>'
            f'<div class="chart" id="{name}"></div></div>\n'
            f'<script type="application/json" data-chart="{name}">{content}</script>\n'
        )
    return (
        f"<h2>{html.escape(figure.title)}</h2>\n"
        f'<p class="caption">{html.escape(figure.caption)}</p>\n'
        f'<div class="charts">\n{"".join(charts)}</div>\n'
    )


def _text_of(title: Any) -> str:
    return title.get("text", "") if isinstance(title, dict) else title


def _numbers(rows: list[Row]) -> str:
    metric, unit = measured(rows)
    words = {"data": judged(rows).lower(), "metric": metric, "unit": unit}
    names = [name for name in _TABLE if name != "control" or any(row["control"] for row in rows)]
    columns = [_aligned([row[name] for row in rows]) for name in names]
    texts = [i for i, name in enumerate(names) if name in _TEXTS]
    head = [_TABLE[name].format(**words) for name in names]
    return _table(head, list(zip(*columns, strict=True)), texts)


def _aligned(values: list[Any]) -> list[str]:
    """Returns numbers with as many decimals as the one that needs most.

    Example:
    >>> _aligned([100.0, 21.07, 0.5]), _aligned([4600, 12])
    (['100.00', '21.07', '0.50'], ['4,600', '12'])
    """
    if all(isinstance(value, int) for value in values):
        return [f"{value:,}" for value in values]
    if not all(isinstance(value, (int, float)) for value in values):
        return [str(value) for value in values]
    decimals = max(len(f"{value:.6f}".rstrip("0").partition(".")[2]) for value in values)
    return [f"{value:,.{max(2, decimals)}f}" for value in values]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int]) -> str:
    """Returns a table; a row with fewer cells ends with one over the rest."""

    def cell(tag: str, i: int, content: str, span: int = 1) -> str:
        over = f' colspan="{span}"' if span > 1 else ""
        kind = ' class="text"' if i in texts or span > 1 else ""
        title = f' data-title="{html.escape(head[i])}"' if tag == "td" and span == 1 else ""
        return f"<{tag}{kind}{over}{title}>{html.escape(content)}</{tag}>"

    titles = "".join(cell("th", i, title) for i, title in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(
            cell("td", i, content, len(head) - i if i == len(row) - 1 else 1)
            for i, content in enumerate(row)
        )
        + "</tr>\n"
        for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead>\n<tbody>{body}</tbody></table>"


def _plain(value: Any) -> Any:
    return f"{value:g}" if isinstance(value, float) else value
