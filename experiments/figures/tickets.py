"""How fast and how well tickets of each size learn."""

from ..results import judged, measured
from . import Figure, Numbers, register
from .marks import against_size


@register("tickets", order=1)
def tickets(numbers: Numbers) -> Figure:
    """Draws early stop and accuracies against the weights remaining (paper, Figures 1, 4 to 6)."""
    rows = numbers.levels
    metric, unit = measured(rows)
    data = judged(rows)
    panels = (
        ("early_stop_iteration", "Early-stop iteration"),
        ("early_stop_accuracy", f"{data} {metric} at early stop{unit}"),
        ("final_accuracy", f"{data} {metric} at the last iteration{unit}"),
        ("train_accuracy", f"Training {metric} at the last iteration{unit}"),
    )
    return Figure(
        "tickets",
        "How fast and how well tickets of each size learn",
        "Early stop is the iteration of minimum validation loss. Lines are means, bands reach from "
        "the smallest to the largest, dashed lines are dense networks (paper, Figures 1, 4 to 6).",
        [against_size(rows, field, title, "series") for field, title in panels],
    )
