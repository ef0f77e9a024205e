"""Hears of trainings while they go on, wherever they are, and tells them to stop."""

import dataclasses

from lth_tf.runs.parcel import Parcel

from .work import News


class Desk:
    """Lives beside the driver, as an actor of Ray; trainings call it, and so does the driver."""

    def __init__(self) -> None:
        self._news: dict[str, News] = {}
        self._stopping = False

    def report(self, training: str, iteration: int) -> bool:
        """Notes how far a training is; returns whether it is to stop."""
        found = self._news.get(training, News())
        self._news[training] = dataclasses.replace(found, iteration=iteration)
        return self._stopping

    def keep(self, training: str, checkpoint: Parcel) -> None:
        """Keeps a training's checkpoint until the driver fetches it."""
        found = self._news.get(training, News())
        self._news[training] = dataclasses.replace(found, checkpoint=checkpoint)

    def fetch(self) -> dict[str, News]:
        """Returns training -> what was heard of it since the last call."""
        found, self._news = self._news, {}
        return found

    def stop(self) -> None:
        """Tells every training that reports from now on to stop."""
        self._stopping = True
