"""The two ways a program of this project fails on purpose."""


class UsageError(ValueError):
    """A mistake in what was asked for: wrong value, wrong file, wrong folder.

    Programs print its message as one line and exit with code 2.
    """


class RunError(RuntimeError):
    """Work that was asked for correctly and could not go on.

    Programs print its message as one line and exit with code 1.
    """
