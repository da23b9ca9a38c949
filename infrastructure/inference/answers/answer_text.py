"""The visible text of an answer, from pieces as they are generated."""

from collections.abc import Iterable

from domain.text import is_visible


class AnswerText:
    """Joins pieces, ends at the first complete stop string, strips surrounding white space.

    What `push` and `finish` return, joined, is the whole answer: text that may turn out to be
    the beginning of a stop string, or trailing white space, is held back until it is decided. So is
    what nobody can see (zero-width characters) until something visible follows: an answer without
    any is empty.

    transcript_stops: the template's own stop strings; a beginning of one at the end of a cut-off
    answer is the start of the next speaker's turn and dropped.
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
        """What was released so far."""
        return "".join(self._parts)

    def push(self, piece: str) -> str:
        if self.stopped:
            return ""
        self._held += piece
        # The stop that is complete first counts, however the text was cut into pieces.
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
        """The last piece. cut_off: the answer ended by length, not by the model's will."""
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
    """Length of the longest end of the text that begins one of the stop strings."""
    longest = 0
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:length]):
                longest = length
                break
    return longest
