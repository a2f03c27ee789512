"""Where a webhook may lead: not into this machine's own network, unless that is allowed."""

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address

from anomalyst.errors import AnomalystError

NAT64 = ipaddress.ip_network("64:ff9b::/96")
SETTING = "--allow-internal-webhooks"


class InternalAddress(AnomalystError):
    """An address of this machine, of its network, or of its cloud's own services."""


def outside(host: str, port: int) -> str:
    """The IP address to connect to, once all that a host's name stands for lie outside.

    It is connected to as it is, so that the name cannot stand for another one a moment later.
    Raises InternalAddress, and OSError for a name that is not known.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]).partition("%")[0] for one in found]
    for address in addresses:
        if not _is_outside(ipaddress.ip_address(address)):
            is_it = "" if address == host else f"{host} is "
            raise InternalAddress(
                f"{is_it}{address}, an address of this machine or of its own network; if messages "
                f"may go there, give `watch`, or `serve` for watches of its page Live, {SETTING}."
            )
    return addresses[0]


def _is_outside(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is one of the public internet, by whatever form it is written in."""
    if isinstance(address, IPv6Address):
        within = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            within = IPv4Address(int(address) & 0xFFFFFFFF)
        if within is not None:
            return _is_outside(within)
    return address.is_global and not address.is_multicast
