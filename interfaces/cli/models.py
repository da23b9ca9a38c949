"""`chatledger models list`,
`chatledger models prepare NAME|FOLDER [--from FOLDER] [--precision P] [--provider cpu|cuda]` and
`chatledger models export --via optimum NAME|FOLDER [--from FOLDER]`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from domain.pricing.words import price_words
from infrastructure.inference.prepared.manifest import Manifest
from infrastructure.settings.service import Settings
from interfaces.cli.options import settings_from


def models(options: argparse.Namespace) -> int:
    """Raises SettingsError, PreparationError."""
    match options.action:
        case "prepare":
            return _shown(options, _prepare)
        case "export":
            return _shown(options, _export)
        case _:
            return _list(options)


def _list(options: argparse.Namespace) -> int:
    from infrastructure.inference.models.engine import OnnxEngine
    from interfaces.composition.chat import build_engine

    settings = settings_from(options)
    prices = {model: price_words(price) for model, price in settings.prices.items()}
    width = max(len(price) for price in prices.values())
    engine: OnnxEngine = build_engine(settings)
    for card in engine.models():
        price = prices[card.name]
        print(f"{card.name:14} {card.state.value:13} {price:{width}}  {card.detail}".rstrip())
    return 0


def _prepare(options: argparse.Namespace, settings: Settings, show: "_Show") -> Manifest:
    from infrastructure.inference.prepared.config import Precision, Provider
    from infrastructure.inference.preparing.prepare import prepare_model

    return prepare_model(
        options.name,
        settings.prepared_models_dir,
        show,
        folder=Path(options.source) if options.source else None,
        precision=Precision(options.precision) if options.precision else None,
        provider=Provider(options.provider) if options.provider else None,
    )


def _export(options: argparse.Namespace, settings: Settings, show: "_Show") -> Manifest:
    from infrastructure.inference.preparing.optimum_export import export_model, optimum_environment

    return export_model(
        options.name,
        settings.prepared_models_dir,
        optimum_environment(settings.data_dir / "environments"),
        show,
        folder=Path(options.source) if options.source else None,
    )


_Show = Callable[[float, str], None]


def _shown(
    options: argparse.Namespace,
    make: Callable[[argparse.Namespace, Settings, _Show], Manifest],
) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    settings = settings_from(options)
    settings.prepared_models_dir.mkdir(parents=True, exist_ok=True)
    console = Console(file=sys.stdout)
    columns = (TextColumn("  {task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(options.name, total=1.0)

        def show(fraction: float, sentence: str) -> None:
            bar.update(task, completed=fraction, description=sentence)

        manifest = make(options, settings, show)
    if not console.is_terminal:
        print(f"  {manifest.name} is prepared, manifest {manifest.hash[:12]}")
    return 0
