"""Fixtures that every test may ask for."""

from tests.support.fixtures import database, embedded_servers, stream_prefix
from tests.support.own_places import keep_to_own_places
from tests.support.service import prepared_models, running_service

__all__ = [
    "database",
    "embedded_servers",
    "prepared_models",
    "running_service",
    "stream_prefix",
]

keep_to_own_places()
