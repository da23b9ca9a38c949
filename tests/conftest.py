"""Fixtures that every test may ask for."""

from tests.support.fixtures import database, embedded_servers, stream_prefix

__all__ = ["database", "embedded_servers", "stream_prefix"]
