"""How exact the weights of a ticket must be."""

import dataclasses
from collections.abc import Iterable

from lth_tf.analysis import line, register
from lth_tf.analysis.base import TRAINING, Analysis, Level, Panel, Row
from lth_tf.controls.noise import with_noise
from lth_tf.options import option
from lth_tf.seeding import generator


@register("noise")
@dataclasses.dataclass(frozen=True)
class NoiseOnTickets(Analysis):
    """Tickets are trained again with more and more noise on the weights they start from."""

    title = "How exact the weights of a ticket must be"
    caption = (
        "A ticket trained from its weights plus Gaussian noise, in standard deviations of a "
        "layer's initialization (paper, figure 25), and the barrier to the ticket without noise."
    )
    needs = TRAINING
    panels = (
        Panel(
            "accuracy",
            "Test accuracy at the last iteration (%)",
            x="sigma",
            x_title="Noise (standard deviations)",
            split=("level",),
        ),
        Panel(
            "error_barrier",
            "Error barrier to the ticket (points)",
            x="sigma",
            x_title="Noise (standard deviations)",
            split=("level",),
            zero=True,
        ),
    )
    columns = {"accuracy": "accuracy (%)", "error_barrier": "error barrier (points)"}
    keys = ("series", "level", "remaining", "sigma")

    sigmas: tuple[float, ...] = option(
        (0.5, 1.0, 2.0, 3.0),
        "Noise on tickets, comma-separated, in standard deviations of a layer's initialization.",
    )
    points: int = option(11, "Points of a line between two networks, ends included.", minimum=3)

    def of_level(self, level: Level) -> Iterable[Row]:
        """Returns a row an amount of noise, 0 included; costs a training each but 0.

        "sigma", "accuracy" in %, "error_barrier" in % and "loss_barrier" between the two trained
        networks.

        Source:
            Frankle & Carbin 2019, arXiv:1803.03635, appendix F and Figure 25.
        """
        bench = level.bench
        recorded = level.subject.run.summary(level.stage)["final_test_accuracy"]
        nothing = {"error_barrier": 0.0, "loss_barrier": 0.0}
        yield level.row(sigma=0.0, accuracy=100 * recorded, **nothing)
        for sigma in self.sigmas:
            ticket = bench.ticket(level.number)
            random = generator(level.subject.seed, "analysis", "noise", level.number, str(sigma))
            noisy = with_noise(ticket.masks, ticket.weights, level.origin, sigma, random)
            trained, accuracy = bench.train(dataclasses.replace(ticket, weights=noisy))
            found = line.between(bench.evaluate, level.trained, trained, self.points)
            yield level.row(sigma=sigma, accuracy=100 * accuracy, **line.barriers(found))
