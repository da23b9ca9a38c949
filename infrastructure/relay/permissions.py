"""What the two users of NATS may do, in the form of nats-server's configuration. Neither of them
can change, empty or remove a stream, so a stolen password cannot take anything away.

relay: publishes events and checkpoints, and makes the streams where they are missing.
reader: receives events, and reads checkpoints.
"""

from infrastructure.relay.nats_connection import READER_INBOX, RELAY_INBOX

Permissions = dict[str, dict[str, list[str]]]

_API = "$JS.API"


def relay_permissions(stream: str) -> Permissions:
    checkpoints = _checkpoints(stream)
    return _permissions(
        publish=[
            f"{stream}.events",
            f"{stream}.checkpoints.*",
            f"{_API}.STREAM.CREATE.{stream}",
            f"{_API}.STREAM.CREATE.{checkpoints}",
            # To go on after the last published checkpoint.
            f"{_API}.STREAM.MSG.GET.{checkpoints}",
        ],
        inbox=RELAY_INBOX,
    )


def reader_permissions(stream: str) -> Permissions:
    publish: list[str] = []
    for name in (stream, _checkpoints(stream)):
        publish += [
            f"{_API}.STREAM.INFO.{name}",
            f"{_API}.STREAM.MSG.GET.{name}",
            # Its own consumers, which JetStream forgets with the connection.
            f"{_API}.CONSUMER.CREATE.{name}",
            f"{_API}.CONSUMER.CREATE.{name}.>",
            # Where a consumer with flow control answers.
            f"$JS.FC.{name}.>",
        ]
    return _permissions(publish=publish, inbox=READER_INBOX)


def _checkpoints(stream: str) -> str:
    """NATS takes no wildcard for a part of a name, so `*` stands for all names."""
    return stream if stream == "*" else f"{stream}-checkpoints"


def _permissions(*, publish: list[str], inbox: str) -> Permissions:
    return {"publish": {"allow": publish}, "subscribe": {"allow": [f"{inbox}.>"]}}
