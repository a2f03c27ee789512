"""What a server refuses; api/problems.py gives each its HTTP status."""

from anomalyst.errors import AnomalystError

CLOSING = "the server is closing; ask again when it is back."


class NotFound(AnomalystError):
    """There is nothing of that id."""


class Conflict(AnomalystError):
    """It goes against what is there already."""


class Stale(AnomalystError):
    """It was changed by somebody since it was read."""


class TooLarge(AnomalystError):
    """More than the limit."""


class Busy(AnomalystError):
    """Too much waits already; come back later."""


class Unauthorized(AnomalystError):
    """No key, or none that is known."""


class Forbidden(AnomalystError):
    """The key's role may not do this."""


class Unreachable(AnomalystError):
    """A server that is needed does not answer."""


class TooMany(AnomalystError):
    """More requests in a minute than allowed."""
