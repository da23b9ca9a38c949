"""Who may try a password now. Nobody is locked out: what grows is the time between two tries.

- An address that guesses at one account waits longer after each failure, up to a bound. The
  account stays open to every other address.
- An address that guesses at many accounts waits likewise.
- When many addresses guess at one account, those from which it has never been signed in to take
  turns. An address from which somebody has signed in to it is known, and waits for neither the
  other accounts' nor the other addresses' failures.

Accounts are told apart by the user's id, whatever the spelling of a name. In the memory of one
process, as are the other limits.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from application.ports import PasswordTurn
from domain.errors import IdempotencyKeyReused, WrongCredentials
from interfaces.http.limits.failures import FailureBounds, Failures
from interfaces.http.problems import RateLimited


@dataclass(frozen=True, kw_only=True)
class GuardLimits:
    """pair_free, address_free, account_free: failures before delays begin, of one address at one
    account, of one address, of one account. turn_s: between two addresses that take turns."""

    pair_free: int
    address_free: int
    account_free: int
    delay_s_max: float
    turn_s: float
    forget_s: float
    records_max: int

    def bounds(self, free: int, delay_s_max: float) -> FailureBounds:
        return FailureBounds(
            free=free,
            delay_s_max=delay_s_max,
            forget_s=self.forget_s,
            records_max=self.records_max,
        )


class SignInGuard:
    """clock: seconds that never go back."""

    def __init__(self, limits: GuardLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known_max = limits.records_max
        # Pairs of address and account, the latest sign-in last.
        self._known: dict[tuple[str, UUID], None] = {}
        by_address = limits.bounds(limits.address_free, limits.delay_s_max)
        by_pair = limits.bounds(limits.pair_free, limits.delay_s_max)
        by_account = limits.bounds(limits.account_free, limits.turn_s)
        self._pairs: Failures[tuple[str, UUID]] = Failures(by_pair)
        self._addresses: Failures[str] = Failures(by_address)
        self._accounts: Failures[UUID] = Failures(by_account)

    @contextmanager
    def trying(self, account: UUID, address: str) -> Iterator[PasswordTurn]:
        """Counts a try by how the block ends. A wrong password is a failure, and so is a try whose
        caller went away before its outcome; any other error is not.

        Raises RateLimited.
        """
        pair = (address, account)
        known = pair in self._known
        self._check(account, address, known=known)
        now_s = self._clock()
        # One address alone never makes the others take turns.
        counts_for_account = not self._pairs.is_slow(pair, now_s)
        self._pairs.begin(pair, now_s)
        if not known:
            self._addresses.begin(address, now_s)
            self._accounts.begin(account, now_s, address)
        failed = True
        try:
            yield self.turn(account, address)
            self.know(account, address)
            failed = False
        except (WrongCredentials, IdempotencyKeyReused):
            raise
        except Exception:
            failed = False
            raise
        finally:
            now_s = self._clock()
            self._pairs.end(pair, now_s, failed=failed)
            if not known:
                self._addresses.end(address, now_s, failed=failed)
                self._accounts.end(account, now_s, failed=failed and counts_for_account)

    def turn(self, account: UUID, address: str) -> PasswordTurn:
        """People at an address they have signed in from do not wait behind strangers there."""
        known = (address, account) in self._known
        return PasswordTurn(owner=address, known=known, account=account if known else None)

    def know(self, account: UUID, address: str) -> None:
        """Somebody has signed in or registered from there."""
        pair = (address, account)
        self._pairs.forget(pair)
        self._known.pop(pair, None)
        self._known[pair] = None
        if len(self._known) > self._known_max:
            del self._known[next(iter(self._known))]

    def _check(self, account: UUID, address: str, *, known: bool) -> None:
        now_s = self._clock()
        wait_s = self._pairs.wait_s((address, account), now_s)
        if not known:
            wait_s = max(wait_s, self._addresses.wait_s(address, now_s))
            if not wait_s:
                wait_s = self._accounts.turn_in_s(account, address, now_s)
        if wait_s > 0:
            whole_s = math.ceil(wait_s)
            raise RateLimited(
                f"too many wrong passwords; try again in {whole_s} s", {"Retry-After": str(whole_s)}
            )
