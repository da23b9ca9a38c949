"""What an operator can choose about the chat page, passed in by the composition root."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class UiSettings:
    """Settings of the chat page; every bound of the page has its name here.

    ``api_url`` is where this process reaches the API, ``docs_url`` is the address of the API's
    documentation as a browser sees it (empty: the page names none). ``secure_cookie`` must
    be on where the page is served over HTTPS. Fields that end in ``_s`` are seconds.
    """

    api_url: str = "http://127.0.0.1:8000"
    docs_url: str = ""
    host: str = "127.0.0.1"
    port: int = 7861
    title: str = "chatledger"
    secure_cookie: bool = False
    cookie_secret: str = field(default="", repr=False)
    """Signs the cookie; empty: a secret of this process."""
    visitor_key: bytes = field(default=b"", repr=False)
    """Signs the address of a visitor towards the API; empty: the API is not told."""
    hosts: tuple[str, ...] = ()
    """The names under which browsers may know this page; empty: any."""
    request_timeout_s: float = 15.0
    connect_timeout_s: float = 3.0
    stream_idle_timeout_s: float = 300.0
    """The longest silence in a streamed answer: it covers waiting for a busy model."""
    settle_timeout_s: float = 5.0
    """How long a stopped answer may take to be booked before the page stops asking."""
    settle_interval_s: float = 0.2
    stream_interval_s: float = 0.08
    """The shortest time between two drawings of a growing answer."""
    refresh_margin_s: float = 30.0
    """An access token that ends within this time is renewed before it is used."""
    model_poll_s: float = 2.0
    """How often the page asks for a model's state while one is loading."""
    session_idle_s: float = 12 * 3600.0
    sessions_max: int = 10_000
    sessions_per_person_max: int = 20
    tabs_max: int = 1_000
    """Tabs of people whose state is kept, each as large as what it shows."""
    anonymous_tabs_max: int = 500
    """Tabs of visitors who have not signed in; they have this room and no other."""
    tabs_per_browser_max: int = 20
    tabs_per_person_max: int = 50
    tabs_per_address_max: int = 100
    """Tabs of visitors from one address who have not signed in."""
    tab_left_s: float = 60.0
    """A tab without a connection for this long may lose its place to another one."""
    streams_per_tab_max: int = 4
    """Connections that stay open; a tab needs two, and a reload doubles them for a moment."""
    exchange_ttl_s: float = 30.0
    """How long a browser has to fetch its new name after someone signed in or out."""
    exchanges_max: int = 1_000
    queue_idle_interval_s: float = 0.05
    """How often Gradio looks whether an event has come: each look wakes a processor."""
    queue_busy_interval_s: float = 0.001
    """The same for ``queue_busy_s`` after an event, since one event is often followed by others."""
    queue_busy_s: float = 2.0
    events_max: int = 256
    """Events of all visitors that run at the same time; more wait in a queue."""
    event_queue_max: int = 2_000
    events_per_visitor_max: int = 32
    """Events that one person may have under way, or one address as long as nobody signed in."""
    messages_per_tab_max: int = 500
    """Updates that a tab may leave unread before its next event is refused."""
    request_bytes_max: int = 1_000_000
    message_chars_max: int = 20_000
    transcript_messages_max: int = 50
    """Messages loaded at once when a conversation is opened."""
    conversations_page: int = 30
    history_page: int = 20
    transactions_page: int = 20
