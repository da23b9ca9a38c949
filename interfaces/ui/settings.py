"""What an operator can choose about the chat page, passed in by the composition root."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class UiSettings:
    """Settings of the chat page; every bound of the page has its name here.

    ``api_url`` is where this process reaches the API, ``docs_url`` is the address of the API's
    documentation as a browser sees it (empty: ``api_url`` with ``/docs``). ``secure_cookie`` must
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
    tabs_max: int = 1_000
    """Tabs whose state is kept, each as large as what it shows."""
    events_max: int = 256
    """Events of all visitors that run at the same time; more wait in a queue."""
    event_queue_max: int = 2_000
    request_bytes_max: int = 1_000_000
    message_chars_max: int = 20_000
    transcript_messages_max: int = 50
    """Messages loaded at once when a conversation is opened."""
    conversations_page: int = 30
    history_page: int = 20
    transactions_page: int = 20

    @property
    def api_docs_url(self) -> str:
        """The address of the API's documentation as a link on the page."""
        return self.docs_url or self.api_url.rstrip("/") + "/docs"
