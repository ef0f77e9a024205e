"""The report as one HTML file that needs no network."""

import html
import json

import vl_convert

from .figures import Figure
from .results import Row, measured

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1100px;
       padding: 1rem; color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin: 2rem 0 .25rem; }
p.caption { margin: 0 0 .75rem; color: #555; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
          gap: 1rem; }
.chart { min-width: 0; width: 100%; height: 320px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .875rem; }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap;
         border-bottom: 1px solid #e5e5e5; }
th:first-child, td:first-child { text-align: left; }
"""

_DRAW = """
for (const spec of document.querySelectorAll('script[type="application/json"]')) {
  vegaEmbed('#' + spec.dataset.chart, JSON.parse(spec.textContent), {actions: false})
    .catch(console.error);
}
"""

_TABLE = {
    "series": "series",
    "seed": "seed",
    "level": "level",
    "control": "control",
    "remaining": "% remaining",
    "early_stop_iteration": "early stop",
    "early_stop_accuracy": "{} there{}",
    "final_accuracy": "final {}{}",
    "train_accuracy": "train {}{}",
}


def render(title: str, notes: list[str], figures: list[Figure], levels: list[Row]) -> str:
    """Returns the page.

    Args:
        title: its heading.
        notes: paragraphs under the heading.
        figures: what to draw; each chart is as wide as the screen lets it be.
        levels: rows of `results.level_rows`, for the table at the end.
    """
    sections = "".join(_section(figure) for figure in figures)
    paragraphs = "".join(f"<p>{html.escape(note)}</p>\n" for note in notes)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
{paragraphs}{sections}
<h2>Numbers</h2>
<details><summary>{len(levels)} trainings</summary>
<div class="scroll">{_table(levels)}</div>
</details>
<script type="module">
{vl_convert.javascript_bundle()}
{_DRAW}
</script>
</body>
</html>
"""


def _section(figure: Figure) -> str:
    charts = []
    for number, chart in enumerate(figure.charts):
        name = f"{figure.name}-{number}"
        sized = chart.properties(width="container", height="container")
        # "</" would end the script element early.
        spec = json.dumps(sized.to_dict()).replace("</", "<\\/")
        charts.append(
            f'<div class="chart" id="{name}"></div>\n'
            f'<script type="application/json" data-chart="{name}">{spec}</script>\n'
        )
    return (
        f"<h2>{html.escape(figure.title)}</h2>\n"
        f'<p class="caption">{html.escape(figure.caption)}</p>\n'
        f'<div class="charts">\n{"".join(charts)}</div>\n'
    )


def _table(rows: list[Row]) -> str:
    titles = [html.escape(title.format(*measured(rows))) for title in _TABLE.values()]
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(row[name]))}</td>" for name in _TABLE) + "</tr>\n"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
