"""The settings of the chat page: its names, and how much of it anybody may have."""

import re

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from infrastructure.settings.types import Count

_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


class PageSettings(BaseSettings):
    page_hosts: str = Field(
        "",
        description="Names under which browsers reach the chat page, with commas between, without"
        " scheme and port; empty: `localhost` and the addresses of this machine where nobody else"
        " can come, any name elsewhere",
    )
    page_tabs_max: Count = Field(
        1_000, description="Tabs of the chat page that people who have signed in may have open"
    )
    page_tabs_per_person_max: Count = Field(
        50, description="The same for one person; for one browser it is 20"
    )
    page_anonymous_tabs_max: Count = Field(
        500, description="Tabs of visitors who have not signed in; they take none of the others"
    )
    page_tabs_per_address_max: Count = Field(
        100,
        description="The same for one address (of IPv6, one network of 64 bits); behind a proxy,"
        " TRUSTED_PROXIES tells the addresses apart",
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
