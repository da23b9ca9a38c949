"""Which model costs what, now. Events carry the price they used, so this may change freely."""

from collections.abc import Mapping
from dataclasses import dataclass

from application.inference import UnknownModel
from domain.pricing.price import Price


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
    default_model: str
    prices: Mapping[str, Price]
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
