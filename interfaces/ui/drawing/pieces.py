"""Small pieces of the page's HTML. ``Markup.format`` escapes whatever comes from outside."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from interfaces.ui.client.errors import ApiGarbled, ApiProblem, ApiUnreachable, SignedOut, UiError
from interfaces.ui.client.responses import Balance, Model, PerMessage
from interfaces.ui.drawing.formats import credits_text, price_phrase, sentence, wait_phrase

EMPTY = Markup("")
LOADING = '<p class="cl-muted cl-loading">Loading…</p>'


def button(label: str, action: str, value: str = "", *, kind: str = "link") -> Markup:
    """A button whose click reaches the page as ``action`` with ``value``."""
    return Markup(
        '<button type="button" class="cl-button cl-{}" data-action="{}" data-value="{}">{}</button>'
    ).format(kind, action, value, label)


def join(pieces: Iterable[Markup]) -> Markup:
    """Pieces one after another."""
    return EMPTY.join(pieces)


def empty_state(title: str, text: str, extra: Markup = EMPTY) -> Markup:
    """What a place says while there is nothing in it."""
    return Markup('<div class="cl-empty"><h3>{}</h3><p>{}</p>{}</div>').format(title, text, extra)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A line above the page's content. ``actions`` are (label, action) of its buttons."""

    kind: str
    text: str
    actions: tuple[tuple[str, str], ...] = ()


def notice_html(notice: Notice | None) -> str:
    """The notice, or nothing."""
    if notice is None:
        return ""
    buttons = join(button(label, action, kind="small") for label, action in notice.actions)
    role = "alert" if notice.kind in {"error", "warning"} else "status"
    return str(
        Markup(
            '<div class="cl-notice cl-{}" role="{}"><span>{}</span>'
            '<span class="cl-notice-actions">{}<button type="button" class="cl-button cl-close"'
            ' data-action="dismiss" data-value="" aria-label="Dismiss">×</button></span></div>'
        ).format(notice.kind, role, notice.text, buttons)
    )


# The API's own words for it; the page says it in its own.
_WHEN = re.compile(r"[;,]? *try again( in [0-9]+ s| later| shortly)?\.?$", re.IGNORECASE)
_ADVICE = {
    "rate_limited": "warning",
    "too_many_attempts": "warning",
    "model_unavailable": "warning",
    "engine_busy": "warning",
    "sign_in_busy": "warning",
    "read_model_behind": "warning",
    "insufficient_credits": "warning",
}


def notice_of(error: UiError) -> Notice:
    """An error in words for the person in front of the page, with what to do next."""
    if isinstance(error, SignedOut):
        return Notice(kind="info", text="You are not signed in any more. Please sign in again.")
    if isinstance(error, ApiUnreachable | ApiGarbled):
        return Notice(kind="error", text=str(error), actions=(("Try again", "retry"),))
    assert isinstance(error, ApiProblem)
    kind = _ADVICE.get(error.code, "error")
    if error.code == "insufficient_credits":
        return Notice(
            kind=kind, text=sentence(error.detail), actions=(("Top up credits", "topup"),)
        )
    text = sentence(error.detail)
    if error.fields:
        text = " ".join(_field_sentence(name, detail) for name, detail in error.fields)
    if error.retry_after_s:
        what = sentence(_WHEN.sub("", text))
        text = f"{what} Try again in {wait_phrase(error.retry_after_s)}."
    if error.code == "internal_error" and error.request_id:
        text = f"Something went wrong in the service. Its log has it under {error.request_id}."
    actions = (("Try again", "retry"),) if error.code == "read_model_behind" else ()
    return Notice(kind=kind, text=text, actions=actions)


def _field_sentence(name: str, detail: str) -> str:
    label = name.rpartition(".")[2].replace("_", " ").capitalize()
    return sentence(f"{label}: {detail}" if label else detail)


def credits_html(balance: Balance | None) -> str:
    """The credits in the header: what can be spent, and what is set aside right now."""
    if balance is None:
        return ""
    held = EMPTY
    if balance.held:
        held = Markup('<span class="cl-held" title="{}"><b>{}</b> held</span>').format(
            "Set aside for an answer under way; what it does not cost comes back",
            credits_text(balance.held),
        )
    return str(
        Markup(
            '<div class="cl-credits" role="status" aria-label="Your credits">'
            '<span class="cl-available"><b>{}</b> {}<span class="cl-word"> available</span>'
            "</span>{}</div>"
        ).format(
            credits_text(balance.available),
            "credit" if balance.available == 1 else "credits",
            held,
        )
    )


def model_note_html(model: Model | None) -> str:
    """Under the choice of the model: what it runs on, or why it cannot be used."""
    if model is None:
        return ""
    if not model.is_usable:
        reason = sentence(model.detail or "It has not been prepared on this server.")
        return str(
            Markup(
                '<div class="cl-note cl-note-warning"><b>{}</b> cannot answer yet. {}</div>'
            ).format(model.title, reason)
        )
    facts = []
    if model.state == "loading":
        facts.append("loading, the first answer takes a little longer")
    if model.runs_on:
        facts.append(f"runs on {model.runs_on}")
    if model.context_tokens:
        facts.append(f"remembers {model.context_tokens:,} tokens")
    if isinstance(model.price, PerMessage):
        facts.append("charged only when an answer arrives")
    return str(Markup('<div class="cl-note">{}</div>').format(" · ".join(facts)))


def models_html(models: list[Model]) -> str:
    """The models and prices for someone who has not signed in."""
    rows = join(
        Markup('<li><span>{}</span><span class="cl-muted">{}{}</span></li>').format(
            model.title,
            price_phrase(model.price),
            "" if model.is_usable else " · not prepared",
        )
        for model in models
    )
    return str(Markup('<ul class="cl-models">{}</ul>').format(rows)) if models else ""


def person_html(username: str | None) -> str:
    """Who is signed in."""
    return str(Markup('<span class="cl-person">{}</span>').format(username)) if username else ""
