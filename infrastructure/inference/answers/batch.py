"""The answers that one model is giving now: they enter and leave between two steps.

Each round runs at most one chunk of one prompt and one decoding step of all rows, so what a
stream can wait for is one chunk and one step, whatever else is asked.
"""

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from application.chat.inference import Completion
from application.chat.inference_errors import (
    GenerationTimedOut,
    InferenceError,
    NumbersNotFinite,
    OutOfMemory,
)
from infrastructure.inference.answers.answer import Answer, LoadedModel
from infrastructure.inference.answers.jobs import Job, Outbox
from infrastructure.inference.answers.kept_prefixes import KeptPrefixes
from infrastructure.inference.prepared.errors import found_no_memory

_log = logging.getLogger(__name__)

# Conversations whose last answer waits to be computed ahead of their next turn.
_UNSETTLED_MAX = 8
_TRIM_EVERY_TOKENS = 64


@dataclass
class _Row:
    """chunks: (first, last) of the prompt that are still to run, in order."""

    job: Job
    answer: Answer
    chunks: deque[tuple[int, int]]
    admitted_at: float


class Batch:
    """For one thread only. Rows that decode lie in places 0, 1, … of the slab; the one whose
    prompt is being prefilled lies behind them."""

    def __init__(self, model: LoadedModel, kept: KeptPrefixes, outbox: Outbox) -> None:
        self.model = model
        self.kept = kept
        self._outbox = outbox
        self._rows: list[_Row] = []
        self._entering: _Row | None = None
        self._unsettled: deque[tuple[str, tuple[int, ...]]] = deque(maxlen=_UNSETTLED_MAX)
        self.last_took_s: float | None = None

    @property
    def has_room(self) -> bool:
        return self._entering is None and len(self._rows) < self.model.session.limits.rows_max

    @property
    def jobs(self) -> list[Job]:
        entering = [self._entering] if self._entering else []
        return [row.job for row in (*self._rows, *entering)]

    @property
    def answers(self) -> list[Answer]:
        """Those that are being written, by place."""
        return [row.answer for row in self._rows]

    @property
    def has_unsettled(self) -> bool:
        return bool(self._unsettled)

    def running(self, owner: str) -> int:
        return sum(job.owner == owner for job in self.jobs)

    def admit(self, job: Job) -> None:
        assert self.has_room
        session, ids = self.model.session, job.request.prompt.token_ids
        try:
            answer = Answer(self.model, job.request)
        except InferenceError as error:
            self._outbox.put(job, error)
            return
        start = self.kept.restore(job.owner, ids, session.slab, len(self._rows))
        cuts = self.model.chunks.cuts(ids)
        chunks = deque(chunk for chunk in pairwise(cuts) if chunk[0] >= start)
        self._entering = _Row(job, answer, chunks, time.monotonic())

    def drop_ended(self) -> None:
        """Let go of rows whose reader went away or whose time is over."""
        now = time.monotonic()
        if self._entering is not None and _is_over(self._entering.job, now, self._outbox):
            self._let_entering_go()
        for place in reversed(range(len(self._rows))):
            if _is_over(self._rows[place].job, now, self._outbox):
                self._release(place)

    def fail_all(self, error: InferenceError) -> None:
        for job in self.jobs:
            self._outbox.put(job, error)
        if self._entering is not None:
            self._let_entering_go()
        while self._rows:
            self._release(len(self._rows) - 1)

    def forget(self) -> int:
        """Keep nothing of earlier prompts; the bytes they took."""
        dropped = self.kept.bytes_kept
        self.kept.clear()
        self._unsettled.clear()
        return dropped

    def step(self) -> None:
        if self._entering is not None:
            self._prefill(self._entering)
        if self._rows:
            self._decode()

    def settle(self) -> None:
        """With nobody to answer: prefill one chunk of what was answered last, so that it is kept
        when the conversation goes on."""
        assert not self.jobs
        session, (owner, ids) = self.model.session, self._unsettled[-1]
        left: list[tuple[int, int]] = []
        try:
            start = self.kept.restore(owner, ids, session.slab, 0)
            left = [chunk for chunk in self.model.chunks.whole(ids) if chunk[0] >= start]
            if left:
                session.prefill(0, ids, *left[0])
                self.kept.keep(owner, ids, left[0][1], session.slab, 0)
        except Exception:  # noqa: BLE001  nobody waits for it, and the next answer must come
            _log.exception("computing ahead broke off")
            self._unsettled.clear()
            return
        finally:
            session.slab.give_back(0)
        if len(left) < 2 or self.kept.kept_tokens(owner, ids) < left[0][1]:
            self._unsettled.pop()

    def _prefill(self, row: _Row) -> None:
        session, ids, place = self.model.session, row.answer.prompt_ids, len(self._rows)
        if row.job.cancelled:
            self._let_entering_go()
            return
        first, last = row.chunks.popleft()
        row.job.meter.prompt_tokens_read += last - first
        try:
            logits = session.prefill(place, ids, first, last)
            self.kept.keep(row.job.owner, ids, last, session.slab, place)
            session.slab.trim(place, last)
        except Exception as error:  # noqa: BLE001  one answer's failure is its own
            self._outbox.put(row.job, self._failure(error))
            self._let_entering_go()
            return
        if not row.chunks:
            self._entering = None
            self._rows.append(row)
            self._choose(logits, [place])

    def _decode(self) -> None:
        rows, session = self._rows, self.model.session
        tokens = [row.answer.token_ids[-1] for row in rows]
        lengths = [row.answer.length for row in rows]
        try:
            logits = session.decode(tokens, lengths)
        except Exception as error:  # noqa: BLE001  whose failure it is, is found out
            if len(rows) == 1:
                self._outbox.put(rows[0].job, self._failure(error))
                self._release(0)
            else:
                self._decode_alone(tokens, lengths)
            return
        self._choose(logits, range(len(rows)))

    def _decode_alone(self, tokens: Sequence[int], lengths: Sequence[int]) -> None:
        """After a step of all rows failed: only those whose own step fails must go."""
        for place in reversed(range(len(tokens))):
            try:
                logits = self.model.session.decode_row(place, tokens[place], lengths[place])
            except Exception as error:  # noqa: BLE001  one answer's failure is its own
                self._outbox.put(self._rows[place].job, self._failure(error))
                self._release(place)
            else:
                self._choose(logits, [place])

    def _choose(self, logits: Any, places: Sequence[int]) -> None:
        """Sample each place's next token from the logits of a step and hand it on."""
        rows = [self._rows[place] for place in places]
        picked = self.model.session.pick(logits, [row.answer.sampler for row in rows])
        ended = []
        for place, row, token in zip(places, rows, picked, strict=True):
            if token is None:
                self.kept.clear()
                self._outbox.put(row.job, NumbersNotFinite())
                ended.append(place)
                continue
            items = row.answer.take(token)
            if row.answer.length % _TRIM_EVERY_TOKENS == 0:
                self.model.session.slab.trim(place, row.answer.length)
            self._outbox.put(row.job, *items)
            if isinstance(items[-1], Completion):
                if self.kept.enabled:
                    answered = (*row.answer.prompt_ids, *row.answer.token_ids)
                    self._unsettled.append((row.job.owner, answered))
                self.last_took_s = time.monotonic() - row.admitted_at
                ended.append(place)
        for place in reversed(ended):
            self._release(place)

    def _release(self, place: int) -> None:
        """The last row takes the place, and the entering one follows behind it."""
        slab, last = self.model.session.slab, len(self._rows) - 1
        if place != last:
            slab.move(last, place, self._rows[last].answer.length)
            self._rows[place] = self._rows[last]
        self._rows.pop()
        if self._entering is not None:
            done = self._entering.chunks[0][0]
            slab.move(last + 1, last, done)
            last += 1
        slab.give_back(last)

    def _let_entering_go(self) -> None:
        self._entering = None
        self.model.session.slab.give_back(len(self._rows))

    def _failure(self, error: Exception) -> InferenceError:
        # The step may have left a row half written, and what is wrong may be older.
        self.kept.clear()
        if found_no_memory(error):
            _log.error("a step of %s found no memory: %s", self.model.name, error)
            return OutOfMemory()
        _log.error("a step of %s broke off", self.model.name, exc_info=error)
        return InferenceError(f"the model broke off ({type(error).__name__})")


def _is_over(job: Job, now: float, outbox: Outbox) -> bool:
    if job.cancelled:
        return True
    if now > job.deadline:
        outbox.put(job, GenerationTimedOut(timeout_s=job.timeout_s))
        return True
    return False
