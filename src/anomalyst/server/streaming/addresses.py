"""Addresses as they may be shown and kept."""

SCHEMES = ("mqtt", "mqtts")  # of topics; mqtts by TLS


def without_password(address: str) -> str:
    """An address as it may be shown and kept: without user and password."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address.rpartition("@")[2]
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"
