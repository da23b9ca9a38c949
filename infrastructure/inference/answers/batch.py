"""Continuous batching: the answers that one model is generating now. They join and leave the batch
between two steps.

Each round runs at most one prefill chunk of one prompt and one decode step of all rows. So a
stream never waits for more than one chunk and one step, whatever else is asked.
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
from infrastructure.inference.answers.generation import Generation, LoadedModel
from infrastructure.inference.answers.jobs import Job, Outbox
from infrastructure.inference.answers.prefix_cache import PrefixCache
from infrastructure.inference.prepared.errors import is_out_of_memory

_log = logging.getLogger(__name__)

# Answered conversations that wait to be prefilled ahead of their next turn.
_ANSWERED_MAX = 8
_TRIM_EVERY_TOKENS = 64


@dataclass
class _Row:
    """chunks: token ranges (first, last) of the prompt that are not prefilled yet, in order."""

    job: Job
    generation: Generation
    chunks: deque[tuple[int, int]]
    admitted_at: float


class Batch:
    """For one thread only.

    Answers that are being decoded have the places 0, 1, … in the KV cache. The one whose prompt is
    being prefilled has the place behind them.
    """

    def __init__(self, model: LoadedModel, prefix_cache: PrefixCache, outbox: Outbox) -> None:
        self.model = model
        self.prefix_cache = prefix_cache
        self._outbox = outbox
        self._rows: list[_Row] = []
        self._prefilling: _Row | None = None
        self._answered: deque[tuple[str, tuple[int, ...]]] = deque(maxlen=_ANSWERED_MAX)
        self.last_took_s: float | None = None

    @property
    def has_room(self) -> bool:
        return self._prefilling is None and len(self._rows) < self.model.session.limits.rows_max

    @property
    def jobs(self) -> list[Job]:
        prefilling = [self._prefilling] if self._prefilling else []
        return [row.job for row in (*self._rows, *prefilling)]

    @property
    def generations(self) -> list[Generation]:
        """Those that are being decoded, by place."""
        return [row.generation for row in self._rows]

    @property
    def has_answers_to_prefill(self) -> bool:
        return bool(self._answered)

    def running(self, owner: str) -> int:
        return sum(job.owner == owner for job in self.jobs)

    def admit(self, job: Job) -> None:
        assert self.has_room
        session, ids = self.model.session, job.request.prompt.token_ids
        try:
            generation = Generation(self.model, job.request)
        except InferenceError as error:
            self._outbox.put(job, error)
            return
        start = self.prefix_cache.restore(job.owner, ids, session.kv_cache, len(self._rows))
        cuts = self.model.chunks.cuts(ids)
        chunks = deque(chunk for chunk in pairwise(cuts) if chunk[0] >= start)
        self._prefilling = _Row(job, generation, chunks, time.monotonic())

    def drop_ended(self) -> None:
        """Free the places of answers whose reader went away or whose time is up."""
        now = time.monotonic()
        if self._prefilling is not None and _is_over(self._prefilling.job, now, self._outbox):
            self._drop_prefilling()
        for place in reversed(range(len(self._rows))):
            if _is_over(self._rows[place].job, now, self._outbox):
                self._release(place)

    def fail_all(self, error: InferenceError) -> None:
        for job in self.jobs:
            self._outbox.put(job, error)
        if self._prefilling is not None:
            self._drop_prefilling()
        while self._rows:
            self._release(len(self._rows) - 1)

    def forget(self) -> int:
        """Forget all earlier prompts. Returns the bytes that they took."""
        dropped = self.prefix_cache.bytes_kept
        self.prefix_cache.clear()
        self._answered.clear()
        return dropped

    def step(self) -> None:
        if self._prefilling is not None:
            self._prefill(self._prefilling)
        if self._rows:
            self._decode()

    def prefill_answered(self) -> None:
        """Prefill one chunk of the newest finished answer while nobody asks for anything, so that
        the prefix cache has it when its conversation goes on."""
        assert not self.jobs
        session, (owner, ids) = self.model.session, self._answered[-1]
        left: list[tuple[int, int]] = []
        try:
            start = self.prefix_cache.restore(owner, ids, session.kv_cache, 0)
            left = [chunk for chunk in self.model.chunks.whole(ids) if chunk[0] >= start]
            if left:
                session.prefill(0, ids, *left[0])
                self.prefix_cache.keep(owner, ids, left[0][1], session.kv_cache, 0)
        except Exception:  # noqa: BLE001  it must not keep the next answer from coming
            _log.exception("prefilling an answer ahead of its next turn broke off")
            self._answered.clear()
            return
        finally:
            session.kv_cache.release(0)
        if len(left) < 2 or self.prefix_cache.kept_tokens(owner, ids) < left[0][1]:
            self._answered.pop()

    def _prefill(self, row: _Row) -> None:
        session, ids, place = self.model.session, row.generation.prompt_ids, len(self._rows)
        if row.job.cancelled:
            self._drop_prefilling()
            return
        first, last = row.chunks.popleft()
        row.job.meter.prompt_tokens_read += last - first
        try:
            logits = session.prefill(place, ids, first, last)
            self.prefix_cache.keep(row.job.owner, ids, last, session.kv_cache, place)
            session.kv_cache.trim(place, last)
        except Exception as error:  # noqa: BLE001  one answer's failure is its own
            self._outbox.put(row.job, self._failure(error))
            self._drop_prefilling()
            return
        if not row.chunks:
            self._prefilling = None
            self._rows.append(row)
            self._choose(logits, [place])

    def _decode(self) -> None:
        rows, session = self._rows, self.model.session
        tokens = [row.generation.token_ids[-1] for row in rows]
        lengths = [row.generation.length for row in rows]
        try:
            logits = session.decode(tokens, lengths)
        except Exception as error:  # noqa: BLE001  below finds whose failure it is
            if len(rows) == 1:
                self._outbox.put(rows[0].job, self._failure(error))
                self._release(0)
            else:
                self._decode_alone(tokens, lengths)
            return
        self._choose(logits, range(len(rows)))

    def _decode_alone(self, tokens: Sequence[int], lengths: Sequence[int]) -> None:
        """After a step of all rows has failed: decode one by one, and end only those that fail."""
        for place in reversed(range(len(tokens))):
            try:
                logits = self.model.session.decode_row(place, tokens[place], lengths[place])
            except Exception as error:  # noqa: BLE001  one answer's failure is its own
                self._outbox.put(self._rows[place].job, self._failure(error))
                self._release(place)
            else:
                self._choose(logits, [place])

    def _choose(self, logits: Any, places: Sequence[int]) -> None:
        """Sample the next token of each place from a step's logits and send it to its reader."""
        rows = [self._rows[place] for place in places]
        picked = self.model.session.pick(logits, [row.generation.sampler for row in rows])
        ended = []
        for place, row, token in zip(places, rows, picked, strict=True):
            if token is None:
                self.prefix_cache.clear()
                self._outbox.put(row.job, NumbersNotFinite())
                ended.append(place)
                continue
            items = row.generation.take(token)
            if row.generation.length % _TRIM_EVERY_TOKENS == 0:
                self.model.session.kv_cache.trim(place, row.generation.length)
            self._outbox.put(row.job, *items)
            if isinstance(items[-1], Completion):
                if self.prefix_cache.enabled:
                    answered = (*row.generation.prompt_ids, *row.generation.token_ids)
                    self._answered.append((row.job.owner, answered))
                self.last_took_s = time.monotonic() - row.admitted_at
                ended.append(place)
        for place in reversed(ended):
            self._release(place)

    def _release(self, place: int) -> None:
        """Free a place: the last answer moves into it, and the one in prefill moves up."""
        kv_cache, last = self.model.session.kv_cache, len(self._rows) - 1
        if place != last:
            kv_cache.move(last, place, self._rows[last].generation.length)
            self._rows[place] = self._rows[last]
        self._rows.pop()
        if self._prefilling is not None:
            done = self._prefilling.chunks[0][0]
            kv_cache.move(last + 1, last, done)
            last += 1
        kv_cache.release(last)

    def _drop_prefilling(self) -> None:
        self._prefilling = None
        self.model.session.kv_cache.release(len(self._rows))

    def _failure(self, error: Exception) -> InferenceError:
        # The step may have left a row half written, and the fault may be older than this step.
        self.prefix_cache.clear()
        if is_out_of_memory(error):
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
