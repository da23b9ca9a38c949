"""What the two users of NATS may do, as nats-server's configuration says it. Nobody of them can
change, empty or remove a stream, so a password that somebody got takes nothing away.

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
            # To go on behind the last checkpoint that is there.
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
            # Consumers of its own, which JetStream forgets with the connection.
            f"{_API}.CONSUMER.CREATE.{name}",
            f"{_API}.CONSUMER.CREATE.{name}.>",
            # What a consumer with flow control is answered on.
            f"$JS.FC.{name}.>",
        ]
    return _permissions(publish=publish, inbox=READER_INBOX)


def _checkpoints(stream: str) -> str:
    """A part of a name can be no wildcard."""
    return stream if stream == "*" else f"{stream}-checkpoints"


def _permissions(*, publish: list[str], inbox: str) -> Permissions:
    return {"publish": {"allow": publish}, "subscribe": {"allow": [f"{inbox}.>"]}}
