"""The settings of the network: which proxies are believed, how long clients may keep things
waiting, and what may go over a network without TLS."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from infrastructure.settings.types import Count, Seconds

# 10.0.0.0/8 and fc00::/7 are the largest networks that somebody can have to themselves.
_PREFIX_BITS_MIN = 7


class NetworkSettings(BaseSettings):
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of your proxies, separated by commas; only their"
        " `X-Forwarded-For` and `X-Forwarded-Proto` are believed; empty: nobody's are",
    )
    unsafe_development_on_network: bool = Field(
        False,
        description="Let `development` and `test` be reached from other machines, where anybody"
        " may register and give themselves credits; there is no known administrator then",
    )
    allow_plain_text_network: bool = Field(
        False,
        description="Let production reach the database, NATS and the API over a network without"
        " TLS, such as one that encrypts by itself",
    )

    header_timeout_s: Seconds = Field(
        10, description="How long a client may take to send the headers of a request"
    )
    body_timeout_s: Seconds = Field(
        20,
        description="How long a client may take to send the body of a request, in addition to the"
        " time that its bytes need at CLIENT_BYTES_PER_S_MIN",
    )
    send_timeout_s: Seconds = Field(
        30,
        description="How long a client may leave a response unread, in addition to the time that"
        " its bytes need at CLIENT_BYTES_PER_S_MIN",
    )
    client_bytes_per_s_min: Count = Field(
        4_000,
        description="Bytes a second at which a body has to arrive and a response has to be read",
    )
    keep_alive_timeout_s: Seconds = Field(
        20, description="How long a connection may be idle between two requests"
    )
    connections_max: Count = Field(
        2_000,
        description="Connections to the API at the same time, and as many to the chat page; when"
        " all are taken, a new one takes the place of one that waits for its client",
    )
    connections_per_address_max: Count = Field(
        300,
        description="Connections from one address at the same time (IPv6: from one network of 64"
        " bits); behind a trusted proxy, requests at the same time",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        networks = parse_networks(value)
        for network in networks:
            if network.prefixlen < _PREFIX_BITS_MIN:
                raise ValueError(
                    f"must name the proxies, and {network} is half of the Internet, whose clients"
                    " could each choose their own address"
                )
        return ",".join(str(network) for network in networks)

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return parse_networks(self.trusted_proxies)


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Raises ValueError, naming what is neither an address nor a network."""
    networks = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ip_network(part))
        except ValueError as error:
            raise ValueError(
                f"must be addresses and networks, such as 127.0.0.1,10.0.0.0/8: {error}"
            ) from None
    return tuple(networks)
