"""Where tests keep the prepared model between runs: git ignores it, and it can be deleted."""

from pathlib import Path

PREPARED_MODELS = Path(__file__).parents[2] / "data" / "test-models"
