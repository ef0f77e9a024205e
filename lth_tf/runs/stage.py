"""One training of an experiment, by name."""

import dataclasses
import re
from typing import Self

_NAME = re.compile(r"level_(\d{2,6})(?:/([A-Za-z0-9][A-Za-z0-9_.+=-]*))?")


@dataclasses.dataclass(frozen=True, order=True)
class Stage:
    """One training of an experiment: a level, or a control of a level.

    Its text is the name of its folder, e.g. "level_03" or "level_03/reinit_0".

    Attributes:
        level: 0 is the dense network.
        control: "" for the ticket itself, else what else is trained at this level, e.g.
            "reinit_0"; letters, digits and _ . + = -.
    """

    level: int
    control: str = ""

    def __str__(self) -> str:
        return f"level_{self.level:02d}" + (f"/{self.control}" if self.control else "")

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Returns the stage of a text, or None if it is none's.

        Example:
        >>> Stage.parse("level_03/reinit_0")
        Stage(level=3, control='reinit_0')
        >>> Stage.parse("level_3"), Stage.parse("level_03/..")
        (None, None)
        """
        found = _NAME.fullmatch(text)
        stage = None if found is None else cls(int(found[1]), found[2] or "")
        return stage if str(stage) == text else None


# Before level 0: training up to the weights that every level starts from.
ORIGIN = Stage(0, "origin")

# The control of a level that is no control: the training in which its masks are learned.
SEARCH = "search"

# Likewise, followed by an iteration: a dense network that saw other batches from there on.
FORK = "fork"
