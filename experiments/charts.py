"""The paper's figures as Vega-Lite charts, for the page and for PNG files alike."""

import dataclasses

import altair as alt

from experiments.results import Row, at_iterations, nearest_densities
from lth_tf.tickets.judging import is_accuracy

# Okabe & Ito: told apart by the colour-blind too.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
_COARSE = [100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1]
_FINE = [100, 80, 65, 50, 40, 30]
_REMAINING = "% of weights remaining"


@dataclasses.dataclass(frozen=True)
class Figure:
    """Charts that belong together.

    Attributes:
        name: file name without ending.
        title: what it shows.
        caption: how to read it.
        charts: without width and height.
    """

    name: str
    title: str
    caption: str
    charts: list[alt.LayerChart]

    def side_by_side(self, width: int = 380, height: int = 260) -> alt.Chart:
        """Returns the charts as one, two in a row."""
        sized = [chart.properties(width=width, height=height) for chart in self.charts]
        return alt.concat(*sized, columns=2).resolve_scale(color="shared")


def figures(
    levels: list[Row], curves: list[Row], densities: list[float], iterations: list[int]
) -> list[Figure]:
    """Returns the figures that the rows have numbers for.

    Args:
        levels: rows of `results.level_rows`.
        curves: rows of `results.curve_rows`.
        densities: percentages whose accuracy curves to show; the nearest are taken.
        iterations: iterations to show the accuracy at; the nearest are taken.
    """
    found = [_sizes(levels)]
    if curves:
        found += [_curves(curves, densities), _at_iterations(curves, iterations)]
    return found


def measured(rows: list[Row]) -> tuple[str, str]:
    """Returns what the accuracies of rows are, and " (%)" if they are in percent.

    Example:
    >>> measured([{"metric": "accuracy"}, {"metric": "accuracy"}]), measured([{"metric": "mae"}])
    (('accuracy', ' (%)'), ('mae', ''))
    """
    names = sorted({row["metric"] for row in rows})
    percent = [name for name in names if is_accuracy(name)]
    if percent and percent != names:
        return " and ".join(names), f" ({', '.join(percent)} in %)"
    return " and ".join(names), " (%)" if percent else ""


def _sizes(rows: list[Row]) -> Figure:
    metric, unit = measured(rows)
    panels = (
        ("early_stop_iteration", "Early-stop iteration"),
        ("early_stop_accuracy", f"Test {metric} at early stop{unit}"),
        ("final_accuracy", f"Test {metric} at the last iteration{unit}"),
        ("train_accuracy", f"Training {metric} at the last iteration{unit}"),
    )
    return Figure(
        "tickets",
        "How fast and how well tickets of each size learn",
        "Early stop is the iteration of minimum validation loss. Lines are means, "
        "bands reach from the smallest to the largest (paper, Figures 1, 4, 5 and 6).",
        [_against_size(rows, field, title, "series") for field, title in panels],
    )


def _curves(rows: list[Row], densities: list[float]) -> Figure:
    chosen = nearest_densities(rows, densities)
    shown = [row for row in rows if row["remaining"] in chosen]
    metric, unit = measured(rows)
    charts = []
    for series in sorted({row["series"] for row in shown}):
        of_series = [row for row in shown if row["series"] == series]
        x = alt.X("iteration:Q", title="Iteration")
        colour = alt.Color(
            "remaining:O",
            title=_REMAINING,
            sort="descending",
            scale=alt.Scale(scheme="viridis"),
            legend=_LEGEND,
        )
        charts.append(
            _mean_and_band(
                of_series, x, "test_accuracy", f"Test {metric}{unit}", colour, _zoom(shown)
            ).properties(title=series)
        )
    return Figure(
        "curves",
        f"Test {metric} while training",
        "Means over trials with bands from the smallest to the largest (paper, Figure 3).",
        charts,
    )


def _at_iterations(rows: list[Row], iterations: list[int]) -> Figure:
    shown = at_iterations(rows, iterations)
    metric, unit = measured(rows)
    charts = []
    for iteration in sorted({row["iteration"] for row in shown}):
        of_iteration = [row for row in shown if row["iteration"] == iteration]
        title = f"Test {metric} at iteration {iteration:,}{unit}"
        charts.append(_against_size(of_iteration, "test_accuracy", title, "series"))
    return Figure(
        "iterations",
        f"Test {metric} at three points of training",
        "Means over trials with bands from the smallest to the largest (paper, Figures 7 and 8).",
        charts,
    )


_LEGEND = alt.Legend(
    orient="bottom", columns=2, labelLimit=320, symbolType="stroke", symbolOpacity=1
)


def _against_size(rows: list[Row], field: str, title: str, colour: str) -> alt.LayerChart:
    smallest = min(row["remaining"] for row in rows)
    x = alt.X(
        "remaining:Q",
        title=_REMAINING,
        scale=alt.Scale(type="log", reverse=True, nice=False),
        axis=alt.Axis(values=_COARSE if smallest < 25 else _FINE, labelFlush=False),
    )
    colours = alt.Color(f"{colour}:N", title=None, scale=alt.Scale(range=_COLOURS), legend=_LEGEND)
    return _mean_and_band(rows, x, field, title, colours)


def _mean_and_band(
    rows: list[Row],
    x: alt.X,
    field: str,
    title: str,
    colour: alt.Color,
    scale: alt.Scale | None = None,
) -> alt.LayerChart:
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


def _zoom(curves: list[Row]) -> alt.Scale:
    """Leaves out the first tenth of training, where every curve is far below the rest."""
    last = max(row["iteration"] for row in curves)
    settled = [row["test_accuracy"] for row in curves if row["iteration"] >= last / 10]
    return alt.Scale(domain=(min(settled), max(settled)), nice=True)
