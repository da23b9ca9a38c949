"""Which model costs what, now. Events carry the price they used, so this may change freely."""

from collections.abc import Mapping
from dataclasses import dataclass

from application.chat.inference_errors import UnknownModel
from domain.credits import MICRO_PER_CREDIT
from domain.pricing.price import Price

# A free amount, bought without a package.
AMOUNT_MICRO_ADDED_MIN = 1 * MICRO_PER_CREDIT
AMOUNT_MICRO_ADDED_MAX = 100_000 * MICRO_PER_CREDIT


@dataclass(frozen=True, kw_only=True)
class CreditPackage:
    """Credits for sale. price_cents: in the currency's hundredths."""

    package_id: str
    title: str
    amount_micro: int
    bonus_micro: int
    price_cents: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class PriceList:
    """cached_price: of an answer that did not have to be generated, but never more than the
    answer's own."""

    default_model: str
    prices: Mapping[str, Price]
    cached_price: Price
    packages: tuple[CreditPackage, ...]

    def price(self, model: str) -> Price:
        """Raises UnknownModel."""
        try:
            return self.prices[model]
        except KeyError:
            names = ", ".join(self.prices)
            raise UnknownModel(f"there is no model {model[:80]!r}; choose one of {names}") from None

    def package(self, package_id: str) -> CreditPackage | None:
        return next((p for p in self.packages if p.package_id == package_id), None)


def _package(
    package_id: str, title: str, amount: int, bonus: int, price_cents: int
) -> CreditPackage:
    return CreditPackage(
        package_id=package_id,
        title=title,
        amount_micro=amount * MICRO_PER_CREDIT,
        bonus_micro=bonus * MICRO_PER_CREDIT,
        price_cents=price_cents,
        currency="EUR",
    )


PACKAGES = (
    _package("starter", "Starter", 100, 0, 500),
    _package("standard", "Standard", 500, 50, 2000),
    _package("plus", "Plus", 2000, 400, 7000),
)
