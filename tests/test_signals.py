import signal
import threading

import pytest

from lth_tf import signals


@pytest.fixture(autouse=True)
def default_handlers():
    """Tests in the background of a shell or under nohup inherit that signals are ignored."""
    before = {number: signal.getsignal(number) for number in signals.STOPPING}
    for number in signals.STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers():
    return [signal.getsignal(number) for number in signals.STOPPING]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_stopping_is_an_interruption(number):
    before = handlers()
    with pytest.raises(signals.Stopped) as caught, signals.raised():
        signal.raise_signal(number)
    assert caught.value.number == number
    assert isinstance(caught.value, KeyboardInterrupt)
    assert handlers() == before


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals.raised(), signals.held_back() as held:
        signal.raise_signal(signal.SIGHUP)
        assert held.arrived is None


def test_it_waits_until_it_is_released():
    done = []
    with pytest.raises(KeyboardInterrupt), signals.held_back() as held:
        signal.raise_signal(signal.SIGINT)
        done.append(held.arrived)
        held.release()
        done.append("not reached")
    assert done == [signal.SIGINT]


def test_it_waits_for_the_end_of_the_block_at_most(capfd):
    before = handlers()
    with pytest.raises(KeyboardInterrupt):
        with signals.held_back():
            signal.raise_signal(signal.SIGINT)
            reached = True
    assert reached and handlers() == before
    assert capfd.readouterr().err == "\nStopping as soon as it can be kept; again stops at once.\n"


def test_a_signal_handed_on_twice_is_one_and_a_later_one_is_impatience(monkeypatch):
    with pytest.raises(KeyboardInterrupt), signals.held_back():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        held_both = True
        monkeypatch.setattr(signals, "_IMPATIENT", 0.0)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not stopped at once")
    assert held_both


def test_an_error_inside_is_told_and_puts_handlers_back():
    before = handlers()
    with pytest.raises(ZeroDivisionError), signals.held_back():
        signal.raise_signal(signal.SIGTERM)
        1 / 0  # noqa: B018
    assert handlers() == before


def test_a_handler_of_the_users_gets_the_signal():
    seen = []
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    with signals.held_back():
        signal.raise_signal(signal.SIGTERM)
        assert seen == []
    assert seen == [signal.SIGTERM]


def test_other_threads_change_no_handler():
    before, inside = handlers(), []

    def work():
        with signals.raised(), signals.held_back():
            inside.extend(handlers())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == before
