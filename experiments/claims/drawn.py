"""Claims as a figure: the paper's number beside ours, a chart a unit."""

from collections.abc import Collection, Sequence
from typing import Any

import altair as alt

from ..figures import Chart, Figure
from .claim import CONTRADICTED, REPRODUCED, UNDECIDED, Judged

_UNITS = {
    "%": "Percent",
    "points": "Points of accuracy",
    "x": "Times (logarithmic)",
    "% left": "% of weights remaining (logarithmic)",
}
_COLOURS = {REPRODUCED: "#1b7837", CONTRADICTED: "#b2182b", UNDECIDED: "#b8860b"}
_CAPTION = (
    "Diamonds are the paper's numbers, dots the means of our seeds, lines reach from the smallest "
    "to the largest, ticks are the bars that decide. A star marks reduced runs."
)


def figure(found: Sequence[Judged], jpeg: Collection[str] = ()) -> Figure | None:
    """Returns the figure of the claims that were run, None if none was.

    Args:
        found: what claims came to.
        jpeg: data sets that are JPEG copies; the caption names them.
    """
    ran = [judged for judged in found if judged.values]
    if not ran:
        return None
    charts = [_chart(unit, [j for j in ran if j.claim.unit == unit]) for unit in _UNITS]
    copies = f" JPEG copies of the data: {', '.join(sorted(jpeg))}." if jpeg else ""
    return Figure(
        "claims",
        "The paper's claims",
        _CAPTION + copies,
        [chart for chart in charts if chart is not None],
        subject=f"{len(ran)} of {len(found)} claims",
    )


def _chart(unit: str, found: Sequence[Judged]) -> Chart | None:
    if not found:
        return None
    rows = [_row(judged) for judged in found]
    logarithmic = unit in ("x", "% left")
    scale = alt.Scale(
        type="log" if logarithmic else "linear", zero=False, nice=not logarithmic, padding=12
    )
    order = [row["claim"] for row in rows]
    plain = alt.Chart(alt.Data(values=rows)).encode(
        alt.Y("claim:N", title=None, sort=order, axis=alt.Axis(labelLimit=330))
    )
    verdicts = alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values()))
    base = plain.encode(alt.Color("verdict:N", title=None, scale=verdicts))
    axis = alt.Axis(format=".4~r", tickCount=6)
    x = alt.X("mean:Q", title=None, scale=scale, axis=axis)
    layers = [
        plain.mark_tick(thickness=1.5, size=12, color="#808080").encode(
            alt.X("bar:Q", scale=scale, axis=axis)
        ),
        base.mark_rule(strokeWidth=2.5, opacity=0.5).encode(
            alt.X("low:Q", scale=scale, axis=axis), alt.X2("high:Q")
        ),
        base.mark_circle(size=60, opacity=1).encode(x),
    ]
    with_number = [row for row in rows if row["paper"] is not None]
    if with_number:
        layers.append(
            plain.properties(data=alt.Data(values=with_number))
            .mark_point(shape="diamond", size=90, strokeWidth=1.8, color="#1f78b4")
            .encode(alt.X("paper:Q", scale=scale, axis=axis))
        )
    return alt.layer(*layers).properties(title=_UNITS[unit], height=max(60, 20 * len(rows)))


def _row(judged: Judged) -> dict[str, Any]:
    claim, numbers = judged.claim, list(judged.values.values())
    reduced = judged.protocol is not None and judged.protocol.reductions
    return {
        "claim": f"{claim.network}, {claim.says}{' *' if reduced else ''}",
        "verdict": judged.verdict,
        "paper": claim.paper,
        "bar": claim.bar,
        "mean": judged.mean,
        "low": min(numbers),
        "high": max(numbers),
    }
