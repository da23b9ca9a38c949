"""The prompt of an instruction-tuned Gemma 3: turns between control tokens.

    <bos><start_of_turn>user
    {notes of the system, blank line}{text}<end_of_turn>
    <start_of_turn>model
    {text}<end_of_turn>
    ...
    <start_of_turn>model

Gemma has no system role, so the system's notes go to the beginning of the first user turn. Source:
the chat template that Google ships with the weights (chat_template in tokenizer_config.json).
Whoever changes this form raises `versions.TURNS_TEMPLATE_VERSION`.
"""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from application.chat.inference import PreparedPrompt, Role, Turn
from application.chat.inference_errors import InferenceError, PromptTooLong
from infrastructure.inference.answers.tokenizer import GemmaTokenizer
from infrastructure.inference.answers.transcript_template import exchanges
from infrastructure.inference.prepared.errors import ModelFileDamaged
from infrastructure.inference.prepared.manifest import TOKENIZER_FILE

START_OF_TURN, END_OF_TURN = "<start_of_turn>", "<end_of_turn>"
CONTROL_TOKENS = ("<bos>", "<eos>", START_OF_TURN, END_OF_TURN)

_CONTROL = re.compile("|".join(map(re.escape, CONTROL_TOKENS)))
_ROLES = {Role.USER: "user", Role.SYSTEM: "user", Role.ASSISTANT: "model"}


class TurnsTemplate:
    """A `PromptTemplate`. The ids are the same as if the whole prompt were tokenised at once.

    Raises ModelFileDamaged when the tokenizer lacks the control tokens of turns.
    """

    # Prompts have only their first token in common, which is not worth keeping.
    header_ids: tuple[int, ...] = ()
    # The answer ends by <end_of_turn>, one of the tokenizer's stop tokens.
    stops: tuple[str, ...] = ()

    def __init__(self, tokenizer: GemmaTokenizer, *, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        ids = {token: tokenizer.id_of(token) for token in CONTROL_TOKENS}
        start, end = ids[START_OF_TURN], ids[END_OF_TURN]
        if start is None or end is None:
            raise ModelFileDamaged(Path(TOKENIZER_FILE), "it lacks the control tokens of turns")
        self._control = frozenset(place for place in ids.values() if place is not None)
        self._start, self._end = [start], [end, *tokenizer.encode("\n")]
        self._opening = [start, *tokenizer.encode("model\n")]

    def prepare(
        self, model: str, turns: Sequence[Turn], *, completion_tokens_wanted: int
    ) -> PreparedPrompt:
        """See `PromptTemplate`."""
        if not turns:
            raise InferenceError("a prompt needs at least one turn")
        notes = [turn.content.strip() for turn in turns[:-1] if turn.role is Role.SYSTEM]
        spoken = [turn for turn in turns[:-1] if turn.role is not Role.SYSTEM]
        last = turns[-1]
        ids = self._ids(notes, [last])
        room = self._context_tokens - 1
        if len(ids) > room:
            beside = len(ids) - len(self._turn(last))
            raise PromptTooLong(
                prompt_tokens=len(ids) - beside, prompt_tokens_max=max(room - beside, 0)
            )
        budget = self._context_tokens - max(completion_tokens_wanted, 1)
        kept = self._newest(spoken, budget - len(ids))
        # The exact length is known only now, because it depends on which turn the notes open.
        while kept:
            whole = self._ids(notes, [*itertools.chain(*kept), last])
            if len(whole) <= budget:
                ids = whole
                break
            del kept[0]
        return PreparedPrompt(
            model=model,
            token_ids=tuple(ids),
            turns_dropped=len(spoken) - sum(map(len, kept)),
            max_tokens=self._context_tokens - len(ids),
        )

    def _newest(self, spoken: Sequence[Turn], budget: int) -> list[list[Turn]]:
        """The newest whole exchanges whose tokens fit the budget, in order."""
        kept: list[list[Turn]] = []
        for exchange in reversed(exchanges(spoken)):
            length = sum(len(self._turn(turn)) for turn in exchange)
            if length > budget:
                break
            budget -= length
            kept.append(exchange)
        return kept[::-1]

    def _ids(self, notes: Sequence[str], turns: Sequence[Turn]) -> list[int]:
        ids = [self._tokenizer.bos_id]
        first, *others = turns
        if notes and first.role is Role.ASSISTANT:
            first, others = Turn(role=Role.USER, content=""), list(turns)
        ids += self._turn(first, "".join(f"{note}\n\n" for note in notes))
        for turn in others:
            ids += self._turn(turn)
        return ids + self._opening

    def _turn(self, turn: Turn, before: str = "") -> list[int]:
        """before: text that goes in front of the turn's own."""
        text = f"{_ROLES[turn.role]}\n{before}{turn.content.strip()}"
        # No token stands for more characters than this, so a cut text still exceeds the window.
        text = text[: (self._context_tokens + 2) * self._tokenizer.token_characters_max]
        return [*self._start, *self._plain(text), *self._end]

    def _plain(self, text: str) -> list[int]:
        """The text's ids, none of which is a control token.

        The tokenizer reads special tokens in a text as plain text, but only those that
        tokenizer.json marks as special. Text that spells another control token is cut in two and
        the halves are tokenised apart.
        """
        ids = self._tokenizer.encode(text)
        if self._control.isdisjoint(ids):
            return ids
        ids, place = [], 0
        for found in _CONTROL.finditer(text):
            middle = found.start() + 2
            ids += self._tokenizer.encode(text[place:middle])
            place = middle
        return ids + self._tokenizer.encode(text[place:])
