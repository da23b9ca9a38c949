"""Expires what was left behind: holds that were never settled, and grants whose time has passed.

A read model says where to look; it may be late, or forged. What is done is decided on the streams,
where a capture and an expiry can never both win.
"""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog

from application.chat.give_back import give_back
from application.ledger.ledger import Ledger, LedgerUnavailable, Transaction
from application.ledger.streams import ACCOUNT
from application.ports import Clock
from application.read_models import ExpiredGrant, ExpiredHold, ReadModels
from domain.accounts.commands import ExpireGrants, ExpireHold
from domain.accounts.decider import decide as decide_account
from domain.errors import HoldNotExpired, HoldNotOpen

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class SweeperLimits:
    """pages_max: how many pages of batch_max rows one round reads, of holds and of grants alike;
    the next round continues where it stopped."""

    interval_s: float
    batch_max: int = 500
    pages_max: int = 10


class _Failures:
    """One line in the log for a whole round: otherwise whoever can write the read models could
    fill the disk with log lines."""

    def __init__(self) -> None:
        self._count = 0
        self._first = ""

    def add(self, failure: str) -> None:
        self._count += 1
        self._first = self._first or failure

    def say(self) -> None:
        if self._count:
            log.error("not_swept", count=self._count, first=self._first)


class Sweeper:
    def __init__(
        self, *, ledger: Ledger, read_models: ReadModels, clock: Clock, limits: SweeperLimits
    ) -> None:
        self._ledger = ledger
        self._read_models = read_models
        self._clock = clock
        self._limits = limits
        self._hold_seen: ExpiredHold | None = None
        self._grant_seen: ExpiredGrant | None = None

    async def run(self) -> None:
        """Until cancelled. A failure is said once, however many rounds it lasts."""
        said: str | None = None
        while True:
            try:
                await self.sweep()
                said = None
            except Exception as error:  # noqa: BLE001 - the next round is the remedy
                if repr(error) != said:
                    said = repr(error)
                    log.warning("sweep_failed", error=said)
            await asyncio.sleep(self._limits.interval_s)

    async def sweep(self) -> int:
        """One round; returns how many holds were released. Raises LedgerUnavailable and
        ReadModelsUnavailable: without the database no other hold could be released either."""
        failures = _Failures()
        released = await self._sweep_holds(failures)
        await self._sweep_grants(failures)
        failures.say()
        return released

    async def _sweep_holds(self, failures: _Failures) -> int:
        now, size = self._clock.now(), self._limits.batch_max
        released = 0
        # More than one page, because forged rows, which no sweep removes, could fill the first.
        for _ in range(self._limits.pages_max):
            page = await self._read_models.expired_holds(now, size, self._hold_seen)
            for hold in page:
                try:
                    released += await self._expire(hold.hold_id, hold.account_id)
                except LedgerUnavailable:
                    raise
                except Exception as error:  # noqa: BLE001 - no hold keeps the others waiting
                    failures.add(f"hold {hold.hold_id} of account {hold.account_id}: {error!r}")
            self._hold_seen = page[-1] if len(page) == size else None
            if self._hold_seen is None:
                break
        return released

    async def _sweep_grants(self, failures: _Failures) -> None:
        now, size = self._clock.now(), self._limits.batch_max
        for _ in range(self._limits.pages_max):
            page = await self._read_models.expired_grants(now, size, self._grant_seen)
            for grant in page:
                try:
                    await self._expire_grants(grant.account_id)
                except LedgerUnavailable:
                    raise
                except Exception as error:  # noqa: BLE001 - nor do one account's grants
                    failures.add(f"grants of account {grant.account_id}: {error!r}")
            self._grant_seen = page[-1] if len(page) == size else None
            if self._grant_seen is None:
                break

    async def _expire(self, hold_id: UUID, account_id: UUID) -> int:
        expire = ExpireHold(hold_id=hold_id)

        def work(transaction: Transaction) -> UUID:
            return give_back(transaction, expire, account_id=account_id, now=self._clock.now())

        try:
            committed = await self._ledger.transact(work)
        except (HoldNotOpen, HoldNotExpired):
            return 0  # settled meanwhile, or the read model is behind
        log.info("hold_expired", hold_id=str(hold_id), message_id=str(committed.value))
        return 1

    async def _expire_grants(self, account_id: UUID) -> None:
        def work(transaction: Transaction) -> None:
            account = transaction.load(ACCOUNT, account_id)
            transaction.add(ACCOUNT, *decide_account(ExpireGrants(), account, self._clock.now()))

        await self._ledger.transact(work)
