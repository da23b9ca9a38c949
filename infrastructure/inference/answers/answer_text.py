"""The text of an answer as the reader sees it, made from pieces as they are generated."""

from collections.abc import Iterable

from domain.text import is_visible


class AnswerText:
    """Joins pieces, ends at the first complete stop string, strips surrounding white space.

    The strings that `push` and `finish` return make up the whole answer. Text that may still turn
    out to begin a stop string, or to be trailing white space, is held back until that is decided.
    An answer never starts with characters that nobody can see (zero-width ones): they are held
    back until something visible follows, so an answer of nothing else is empty.

    transcript_stops: the template's own stop strings. If an answer that is cut off ends with the
    beginning of one, that is the next speaker's turn, so it is dropped.
    """

    def __init__(self, transcript_stops: Iterable[str], stops: Iterable[str] = ()) -> None:
        self._transcript_stops = tuple(stop for stop in transcript_stops if stop)
        self._stops = self._transcript_stops + tuple(stop for stop in stops if stop)
        self._held = ""
        self._spaces = ""
        self._parts: list[str] = []
        self.stopped = False

    @property
    def text(self) -> str:
        """What `push` and `finish` have returned so far."""
        return "".join(self._parts)

    def push(self, piece: str) -> str:
        if self.stopped:
            return ""
        self._held += piece
        # The stop string that ends first counts, however the text was cut into pieces.
        found = [
            (place + len(stop), place)
            for stop in self._stops
            if (place := self._held.find(stop)) >= 0
        ]
        if found:
            self.stopped = True
            released, self._held = self._held[: min(found)[1]], ""
            return self._release(released)
        kept = open_length(self._held, self._stops)
        cut = len(self._held) - kept
        released, self._held = self._held[:cut], self._held[cut:]
        return self._release(released)

    def finish(self, *, cut_off: bool) -> str:
        """The last piece. cut_off: max_tokens ended the answer, not the model or a stop string."""
        if cut_off and open_length(self._held, self._transcript_stops) == len(self._held):
            self._held = ""
        released = self._release(self._held)
        self._held = ""
        return released

    def _release(self, text: str) -> str:
        text = self._spaces + text
        if not self._parts:
            text = text.lstrip()
            if not is_visible(text):
                self._spaces = text
                return ""
        visible = text.rstrip()
        self._spaces = text[len(visible) :]
        if visible:
            self._parts.append(visible)
        return visible


def open_length(text: str, stops: Iterable[str]) -> int:
    """Length of the longest suffix of the text that is a proper prefix of a stop string."""
    longest = 0
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:length]):
                longest = length
                break
    return longest
