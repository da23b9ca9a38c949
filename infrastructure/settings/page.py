"""The settings of the chat page: its names, and how much of it anybody may have."""

import re

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from infrastructure.settings.types import Count

_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


class PageSettings(BaseSettings):
    page_hosts: str = Field(
        "",
        description="Names under which browsers reach the chat page, separated by commas, without"
        " scheme and port; empty: `localhost` and this machine's addresses if only this machine"
        " can reach the page, any name otherwise",
    )
    page_tabs_max: Count = Field(
        1_000, description="Tabs of the chat page that people who have signed in may have open"
    )
    page_tabs_per_person_max: Count = Field(
        50, description="Tabs that one person may have open; one browser may have 20"
    )
    page_anonymous_tabs_max: Count = Field(
        500,
        description="Tabs that visitors who have not signed in may have open altogether; they take"
        " no place from people who have signed in",
    )
    page_tabs_per_address_max: Count = Field(
        100,
        description="Tabs that visitors who have not signed in may have open from one address"
        " (IPv6: from one network of 64 bits); behind a proxy, TRUSTED_PROXIES tells the addresses"
        " apart",
    )

    @field_validator("page_hosts")
    @classmethod
    def _names(cls, value: str) -> str:
        for name in host_names(value):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a host, such as chat.example.com")
        return value


def host_names(page_hosts: str) -> tuple[str, ...]:
    """The names in the setting, as browsers send them."""
    return tuple(name.strip().lower() for name in page_hosts.split(",") if name.strip())
