"""The prompt of a base model: a transcript that the next answer continues.

A base model knows no turn tokens: it continues any text in the same style. So the prompt is a
sample conversation with short, true answers (the header), then the real turns, then the label of
the assistant's turn. The answer ends where the model begins the user's next turn. Whoever changes
this form raises `versions.TEMPLATE_VERSION`. Each answer records how many turns were dropped.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from application.chat.inference import PreparedPrompt, Role, Turn
from application.chat.inference_errors import InferenceError, PromptTooLong
from infrastructure.inference.answers.tokenizer import GemmaTokenizer

STOPS = ("\nUser:", "\nAssistant:")

# Each example shows another kind of answer. On twenty varied questions, blank lines between the
# pairs gave better answers than single line ends or an introductory sentence.
_EXAMPLES = (
    ("Hello!", "Hello! How can I help you today?"),
    ("What is the capital of Japan?", "The capital of Japan is Tokyo."),
    ("Thanks, that helps.", "You're welcome! Let me know if you have more questions."),
    (
        "Who wrote the novel Don Quixote?",
        "Don Quixote was written by the Spanish author Miguel de Cervantes and published in 1605.",
    ),
    ("What is 7 + 5?", "7 + 5 = 12."),
    (
        "Is a spider an insect?",
        "No, a spider is not an insect. It is an arachnid, because it has eight legs and insects"
        " have only six.",
    ),
    ('How do you say "thank you" in French?', '"Thank you" in French is "merci".'),
    (
        "Tell me something funny.",
        "Why did the scarecrow win a prize? Because he was outstanding in his field!",
    ),
    (
        "How do I cook rice?",
        "Rinse the rice, put it into a pot with twice as much water, and bring it to a boil."
        " Then cover the pot and let it simmer for about fifteen minutes.",
    ),
    (
        "Write a short poem about the moon.",
        "The silver moon climbs over the hill, and all the sleeping world is still.",
    ),
    (
        "How can I sleep better?",
        "Go to bed at the same time every day, avoid coffee in the evening, and keep your"
        " bedroom dark and quiet.",
    ),
    (
        "Why do leaves change colour in autumn?",
        "In autumn, trees stop making the green pigment chlorophyll. The yellow and red pigments"
        " in the leaves then become visible.",
    ),
    (
        "Give me some tips for learning a language.",
        "Practise a little every day, listen to native speakers, and do not be afraid of making"
        " mistakes.",
    ),
)

_HEADER = "\n\n".join(f"User: {asked}\nAssistant: {said}" for asked, said in _EXAMPLES)
_OPENING = "\nAssistant:"
_LABELS = {Role.USER: "\n\nUser:", Role.ASSISTANT: "\nAssistant:", Role.SYSTEM: "\n\nNote:"}

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Text that the model would take for the beginning of somebody's turn.
_SPEAKER = re.compile(r"\n\s*(?=(?:user|assistant|note)\s*[:\uff1a])", re.IGNORECASE)


@dataclass(frozen=True)
class _Piece:
    turn: Turn
    token_ids: list[int]


class PromptTemplate(Protocol):
    """The form of the prompts for one kind of model. Safe to use from any thread.

    header_ids: the tokens that most prompts begin with, worth keeping in the prefix cache.
    stops: strings that end an answer, in addition to the tokenizer's stop tokens.
    """

    @property
    def header_ids(self) -> tuple[int, ...]: ...

    @property
    def stops(self) -> tuple[str, ...]: ...

    def prepare(
        self, model: str, turns: Sequence[Turn], *, completion_tokens_wanted: int
    ) -> PreparedPrompt:
        """See `InferenceEngine.prepare_prompt`. System turns are never dropped.

        Raises PromptTooLong, and InferenceError when there are no turns.
        """
        ...


class TranscriptTemplate:
    """A `PromptTemplate`. Each turn is tokenised by itself, so lengths add up and earlier turns
    keep their ids. That changes nothing: a turn begins with a line end, and the tokenizer splits
    there anyway."""

    def __init__(self, tokenizer: GemmaTokenizer, *, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self.stops = STOPS
        self.header_ids = (tokenizer.bos_id, *tokenizer.encode(_HEADER))
        self._opening_ids = tokenizer.encode(_OPENING)

    def prepare(
        self, model: str, turns: Sequence[Turn], *, completion_tokens_wanted: int
    ) -> PreparedPrompt:
        """See `PromptTemplate`."""
        if not turns:
            raise InferenceError("a prompt needs at least one turn")
        fixed = len(self.header_ids) + len(self._opening_ids)
        last = self._piece(turns[-1], room=self._context_tokens - fixed - 1)
        notes = [
            self._piece(turn, room=self._context_tokens)
            for turn in turns[:-1]
            if turn.role is Role.SYSTEM
        ]
        fixed += sum(len(note.token_ids) for note in notes)
        room = self._context_tokens - fixed - 1
        if len(last.token_ids) > room:
            raise PromptTooLong(prompt_tokens=len(last.token_ids), prompt_tokens_max=max(room, 0))
        budget = self._context_tokens - fixed - max(completion_tokens_wanted, 1)
        spoken = [turn for turn in turns[:-1] if turn.role is not Role.SYSTEM]
        pieces = self._newest(spoken, budget - len(last.token_ids))
        ids = list(self.header_ids)
        for piece in (*notes, *pieces, last):
            ids += piece.token_ids
        ids += self._opening_ids
        return PreparedPrompt(
            model=model,
            token_ids=tuple(ids),
            turns_dropped=len(spoken) - len(pieces),
            max_tokens=self._context_tokens - len(ids),
        )

    def _newest(self, spoken: Sequence[Turn], budget: int) -> list[_Piece]:
        """The newest whole exchanges whose tokens fit the budget, in order."""
        kept: list[_Piece] = []
        for exchange in reversed(exchanges(spoken)):
            pieces = [self._piece(turn, room=max(budget, 0)) for turn in exchange]
            length = sum(len(piece.token_ids) for piece in pieces)
            if length > budget:
                break
            budget -= length
            kept = pieces + kept
        return kept

    def _piece(self, turn: Turn, *, room: int) -> _Piece:
        """room: tokens that are left. A longer text is cut before it is tokenised, to save time."""
        text = f"{_LABELS[turn.role]} {neutralise(turn.content)}"
        # No token stands for more characters than this, so the cut text still exceeds the room.
        text = text[: (room + 2) * self._tokenizer.token_characters_max]
        return _Piece(turn, self._tokenizer.encode(text))


def exchanges(spoken: Sequence[Turn]) -> list[list[Turn]]:
    """Each question with the answers to it. An exchange is kept or dropped as a whole: an answer
    without its question would look like the answer to the question before it."""
    found: list[list[Turn]] = []
    for turn in spoken:
        if turn.role is Role.USER or not found:
            found.append([])
        found[-1].append(turn)
    return found


def neutralise(content: str) -> str:
    """The content, changed so that no line of it begins like a turn.

    Line ends of every kind become "\\n", and one before a speaker's label becomes a space.
    """
    text = _LINE_ENDS.sub("\n", content).strip()
    return _SPEAKER.sub(" ", text)
