"""The transcript and the list of conversations as HTML."""

from markupsafe import Markup

from interfaces.ui.drawing.formats import answer_facts, count_phrase, date_text
from interfaces.ui.drawing.markdown import formatted, plain
from interfaces.ui.drawing.pieces import EMPTY, button, empty_state, join
from interfaces.ui.drawing.receipt import receipt_html
from interfaces.ui.tab import Message, Tab
from interfaces.ui.turn import Turn

_STARTERS = (
    "Tell me about the sea.",
    "Why is the sky blue?",
    "Write two lines about autumn.",
)

# By the reason why the rest of an answer is missing.
_ENDED_EARLY = {
    "cancelled": "stopped",
    "timeout": "cut off, as it took too long",
    "error": "broken off by a failure of the service",
}
_NO_TEXT = Markup('<p class="cl-muted">The model gave no text; nothing was charged.</p>')


def transcript_html(tab: Tab) -> str:
    """All finished messages of the open conversation, or what to do in an empty one."""
    if not tab.messages:
        if tab.turn is not None and tab.is_busy:
            return ""
        starters = join(button(text, "starter", text, kind="starter") for text in _STARTERS)
        return str(
            empty_state(
                "Start a conversation",
                "Ask something below. The price is held while the model answers, "
                "and you pay only for an answer that arrives.",
                Markup('<div class="cl-starters">{}</div>').format(starters),
            )
        )
    titles = tab.model_titles()
    earlier = EMPTY
    if tab.earlier_cursor:
        earlier = Markup('<div class="cl-earlier">{}</div>').format(
            button("Show earlier messages", "earlier")
        )
    return str(earlier + join(_message_html(tab, message, titles) for message in tab.messages))


def live_html(turn: Turn | None) -> str:
    """The question just asked and the answer as far as it has come."""
    if turn is None or turn.is_over:
        return ""
    body = formatted(turn.text) if turn.text else _waiting(turn)
    return str(
        _article("user", "You", plain(turn.sending.text))
        + _article("assistant", turn.model_title, body, EMPTY, "cl-growing")
    )


def _waiting(turn: Turn) -> Markup:
    words = "Thinking…" if turn.started is not None else "Asking…"
    return Markup('<p class="cl-waiting">{}</p>').format(words)


def _message_html(tab: Tab, message: Message, titles: dict[str, str]) -> Markup:
    if message.role == "user":
        return _article("user", "You", plain(message.text)) + _outcome(message)
    speaker = titles.get(message.model or "", message.model or "Model")
    body = formatted(message.text) if message.text else _NO_TEXT
    return _article("assistant", speaker, body, _facts(tab, message))


def _outcome(message: Message) -> Markup:
    """What became of a question that has no answer."""
    if message.status == "failed":
        return Markup('<p class="cl-outcome cl-failed">{}</p>').format(
            "There was no answer, and nothing was charged."
        )
    if message.status == "pending":
        return Markup('<p class="cl-outcome cl-muted">{} {}</p>').format(
            "The answer is still under way.", button("Look again", "reload")
        )
    return EMPTY


def _facts(tab: Tab, message: Message) -> Markup:
    words = answer_facts(
        cost=message.cost, tokens=message.completion_tokens, latency_ms=message.latency_ms
    )
    if ended := _ENDED_EARLY.get(message.finish_reason):
        words = f"{ended} · {words}" if words else ended
    receipt = tab.receipts.get(message.message_id)
    pieces = [Markup("<span>{}</span>").format(words)]
    if message.cost is not None:
        label = "receipt" if receipt is None else "hide receipt"
        pieces.append(button(label, "receipt", message.message_id))
    shown = receipt_html(receipt) if receipt is not None else EMPTY
    return Markup('<span class="cl-facts">{}</span>{}{}').format(
        Markup('<span aria-hidden="true"> · </span>').join(pieces), _dropped(message), shown
    )


def _dropped(message: Message) -> Markup:
    """What the model did not see of the conversation above."""
    exchanges = message.turns_dropped // 2
    if exchanges < 1:
        return EMPTY
    was = "was" if exchanges == 1 else "were"
    return Markup('<p class="cl-dropped cl-muted">{} {} {} left out.</p>').format(
        "Earlier messages no longer fit the model’s window:",
        count_phrase(exchanges, "exchange"),
        was,
    )


def _article(
    role: str, speaker: str, body: Markup, footer: Markup = EMPTY, extra: str = ""
) -> Markup:
    foot = Markup('<div class="cl-foot">{}</div>').format(footer) if footer else EMPTY
    return Markup(
        '<article class="cl-message cl-{} {}"><h4>{}</h4><div class="cl-body">{}</div>{}</article>'
    ).format(role, extra, speaker, body, foot)


def conversations_html(tab: Tab) -> str:
    """The list beside the chat; the open one is marked."""
    if not tab.conversations:
        return str(
            Markup('<p class="cl-muted cl-list-empty">{}</p>').format(
                "Your conversations will be listed here."
            )
        )
    rows = join(
        Markup(
            '<li><button type="button" class="cl-conversation" data-action="open"'
            ' data-value="{}"{}><span class="cl-title">{}</span>'
            '<span class="cl-muted">{}</span></button></li>'
        ).format(
            one.conversation_id,
            Markup(' aria-current="true"') if one.conversation_id == tab.conversation_id else EMPTY,
            one.title or "Untitled",
            f"{date_text(one.updated_at)} · {count_phrase(one.message_count, 'message')}",
        )
        for one in tab.conversations
    )
    more = button("Show more", "more") if tab.conversations_cursor else EMPTY
    return str(Markup('<ul class="cl-conversations">{}</ul>{}').format(rows, more))


def heading_html(tab: Tab) -> str:
    """The title of the open conversation."""
    conversation = tab.conversation()
    title = conversation.title if conversation is not None else ""
    if not title:
        title = "New chat" if tab.conversation_id is None else "Conversation"
    return str(Markup('<h2 class="cl-heading">{}</h2>').format(title))


def finished_message(turn: Turn) -> Message:
    """The answer of a turn that has ended well."""
    done = turn.done
    assert done is not None, "only a turn that is done has an answer"
    return Message(
        message_id=done.message_id,
        role="assistant",
        text=done.response,
        model=done.model,
        cost=done.cost,
        completion_tokens=done.usage.completion_tokens,
        latency_ms=done.latency_ms,
        finish_reason=done.finish_reason,
        turns_dropped=done.turns_dropped,
    )
