"""`chatledger models list` and
`chatledger models prepare NAME|FOLDER [--from FOLDER] [--precision P] [--provider cpu|cuda]`."""

import argparse
import sys
from pathlib import Path

from interfaces.cli.options import settings_from


def models(options: argparse.Namespace) -> int:
    """Raises SettingsError, PreparationError."""
    return _prepare(options) if options.action == "prepare" else _list(options)


def _list(options: argparse.Namespace) -> int:
    from infrastructure.onnx.engine import OnnxEngine
    from interfaces.composition import build_engine

    settings = settings_from(options)
    engine: OnnxEngine = build_engine(settings)
    for card in engine.models():
        price = settings.prices[card.name]
        print(f"{card.name:14} {card.state.value:13} {price.version:20} {card.detail}")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    from infrastructure.onnx.config import Precision, Provider
    from infrastructure.onnx.prepare import prepare_model

    settings = settings_from(options)
    folder = settings.prepared_models_dir
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(file=sys.stdout)
    columns = (TextColumn("  {task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(options.name, total=1.0)

        def show(fraction: float, sentence: str) -> None:
            bar.update(task, completed=fraction, description=sentence)

        manifest = prepare_model(
            options.name,
            folder,
            show,
            folder=Path(options.source) if options.source else None,
            precision=Precision(options.precision) if options.precision else None,
            provider=Provider(options.provider) if options.provider else None,
        )
    if not console.is_terminal:
        print(f"  {manifest.name} is prepared, manifest {manifest.hash[:12]}")
    return 0
