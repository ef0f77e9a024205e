"""What claims came to as lines and tables."""

from collections.abc import Collection, Sequence

from lth_tf.cli.table import Column, table

from .claim import NOT_RUN, Claim, Judged

HEAD = ("claim", "unit", "paper", "ours", "seeds", "verdict", "source")
_COLUMNS = (
    Column(HEAD[0], left=True),
    Column(HEAD[1], left=True),
    *map(Column, HEAD[2:5]),
    Column(HEAD[5], left=True),
    Column(HEAD[6], left=True, drop=1),
)
_DECIMALS = {"%": 1, "points": 2, "x": 2, "% left": 1}
RULE = (
    "Reproduced: the 95 % interval of the mean is beyond the bar, which is half of the paper's "
    "effect (without a number: none of it); contradicted: it is on the other side; undecided: the "
    "spread is too wide, or there are fewer than three seeds. ours: mean [smallest, largest]."
)


def text(found: Sequence[Judged], jpeg: Collection[str] = (), width: int | None = None) -> str:
    """Returns a table of the claims that were run, the reductions, and how many were not.

    Args:
        found: what claims came to.
        jpeg: data sets that are JPEG copies.
        width: characters in a line; None for the terminal's.
    """
    ran = [judged for judged in found if judged.values]
    lines: list[list[str]] = []
    networks = list(dict.fromkeys(judged.claim.network for judged in ran))
    for network in networks:
        of_network = [judged for judged in ran if judged.claim.network == network]
        lines.append([heading(of_network[0].claim, jpeg), *[""] * (len(HEAD) - 1)])
        lines += map(cells, of_network)
    parts = [table(_COLUMNS, lines, width)] if lines else []
    parts += [f"* {line}" for line in reductions(ran)]
    missing = [judged.claim.name for judged in found if not judged.values]
    if missing:
        parts.append(f"{len(missing)} of {len(found)} claims {NOT_RUN}; --all lists them.")
    return "\n".join(parts)


def heading(claim: Claim, jpeg: Collection[str]) -> str:
    """Returns a network with its data set, and that its data are a copy if they are."""
    copy = " (JPEG copy)" if claim.dataset in jpeg else ""
    return f"{claim.network} on {claim.dataset}{copy}"


def cells(judged: Judged) -> list[str]:
    """Returns a row in words, in the order of `HEAD`."""
    claim = judged.claim
    reduced = judged.protocol is not None and judged.protocol.reductions
    return [
        claim.says,
        claim.unit,
        paper(claim),
        ours(judged),
        f"{len(judged.values)}{'*' if reduced else ''}" if judged.values else "",
        judged.verdict,
        claim.source,
    ]


def paper(claim: Claim) -> str:
    """Returns the paper's number, or the direction that it gives.

    Example:
    >>> from .catalogue import CLAIMS
    >>> [paper(claim) for claim in CLAIMS[:6]]
    ['38', '0.3', '3.6', '0.35', '100', '> 0']
    """
    if claim.paper is None:
        return f"{'<' if claim.less else '>'} {claim.bar:g}"
    return f"{claim.paper:g}"


def ours(judged: Judged) -> str:
    """Returns the mean, and the smallest and the largest of several seeds."""
    if not judged.values:
        return ""
    numbers = list(judged.values.values())
    mean, low, high = (
        f"{value:.{_DECIMALS[judged.claim.unit]}f}"
        for value in (judged.mean, min(numbers), max(numbers))
    )
    return mean if len(numbers) == 1 else f"{mean} [{low}, {high}]"


def reductions(found: Sequence[Judged]) -> list[str]:
    """Returns how reduced runs differ from the paper's, a line a network and protocol."""
    lines = [
        f"{judged.claim.network}, reduced: {judged.protocol.text}"
        for judged in found
        if judged.protocol is not None and judged.protocol.reductions
    ]
    return list(dict.fromkeys(lines))


def not_run(found: Sequence[Judged]) -> str:
    """Returns the claims that were not run, with what they need."""
    lines = ["", f"{NOT_RUN.capitalize()}, and what is missing:"]
    for judged in found:
        if not judged.values:
            claim = judged.claim
            lines.append(f"{claim.network}, {claim.says} ({claim.source})")
            lines.append(f"    {judged.missing}")
    return "\n".join(lines) if len(lines) > 2 else ""
