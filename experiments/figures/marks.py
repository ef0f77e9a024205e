"""What charts are drawn with: means over replicates, with bands and colours."""

import altair as alt

from ..results import Row

# Okabe & Ito: told apart by the colour-blind too.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
_COARSE = [100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1]
_FINE = [100, 80, 65, 50, 40, 30]
REMAINING = "% of weights remaining"
LEGEND = alt.Legend(
    orient="bottom", columns=2, labelLimit=320, symbolType="stroke", symbolOpacity=1
)


def against_size(rows: list[Row], field: str, title: str, colour: str) -> alt.LayerChart:
    """Returns a field against the weights remaining, a curve for each value of `colour`."""
    smallest = min(row["remaining"] for row in rows)
    x = alt.X(
        "remaining:Q",
        title=REMAINING,
        scale=alt.Scale(type="log", reverse=True, nice=False),
        axis=alt.Axis(values=_COARSE if smallest < 25 else _FINE, labelFlush=False),
    )
    colours = alt.Color(f"{colour}:N", title=None, scale=alt.Scale(range=_COLOURS), legend=LEGEND)
    return mean_and_band(rows, x, field, title, colours)


def mean_and_band(
    rows: list[Row],
    x: alt.X,
    field: str,
    title: str,
    colour: alt.Color,
    scale: alt.Scale | None = None,
) -> alt.LayerChart:
    """Returns the mean of a field as a line, and from its smallest to its largest as a band."""
    scale = scale or alt.Scale(zero=False)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, color=colour)
    band = base.mark_area(opacity=0.18, clip=True).encode(
        alt.Y(f"min({field}):Q", title=title, scale=scale), alt.Y2(f"max({field}):Q")
    )
    tooltip = [
        colour.shorthand,
        x.shorthand,
        *(
            alt.Tooltip(f"{how}({field}):Q", title=name, format=",.5~g")
            for how, name in (("mean", "mean"), ("min", "smallest"), ("max", "largest"))
        ),
        alt.Tooltip("count():Q", title="trainings"),
    ]
    line = base.mark_line(clip=True, point=alt.OverlayMarkDef(size=22)).encode(
        alt.Y(f"mean({field}):Q", title=title, scale=scale), tooltip=tooltip
    )
    return alt.layer(band, line)
