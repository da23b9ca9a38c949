"""`make bench`: speed and memory of the whole service, against its goals and its floors.

Prints a table and writes the same as JSON. Takes about eight minutes on two cores, and leaves no
process behind.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

from benchmarks import machine, memory, overhead, starting
from benchmarks.figures import Figure, table
from benchmarks.inference import decode, engine_memory, serving
from benchmarks.ledger import suite
from benchmarks.read_models import balance
from benchmarks.running import Service, running

RESULTS = Path(__file__).parent / "results"
PARTS = ("floors", "start", "memory", "chat", "balance", "inference", "serving", "lag")


class _Bench:
    """Measures part by part, and keeps the figures of the others where one fails."""

    def __init__(self, folder: Path, parts: set[str]) -> None:
        self._folder = folder
        self._parts = parts
        self._prepared = folder / "first"
        self._engine_ms: float | None = None
        self.figures: list[Figure] = []
        self.failures: dict[str, str] = {}

    def run(self, *, quick: bool) -> None:
        self._measure("floors", lambda: suite.flush_latency(self._folder))
        self._measure("start", lambda: self._start(1 if quick else 3, 2 if quick else 5))
        self._measure("memory", lambda: memory.without_model(self._folder))
        if self._parts & {"memory", "chat", "balance"}:
            self._with_service(40 if quick else 300, 3.0 if quick else 10.0)
        self._measure("chat", lambda: self._engine_alone(20 if quick else 100))
        self._measure("inference", lambda: decode.decode_speed(self._models()))
        self._measure("inference", lambda: engine_memory.engine_memory(self._models()))
        repeats = 2 if quick else 5
        self._measure("serving", lambda: serving.serving_speed(self._models(), repeats=repeats))
        self._measure("lag", lambda: self._lag(3.0 if quick else 10.0))

    def _start(self, first: int, warm: int) -> list[Figure]:
        figures, self._prepared = starting.first_starts(self._folder, repeats=first)
        return [*figures, *starting.warm_starts(self._prepared, repeats=warm)]

    def _with_service(self, messages: int, seconds: float) -> None:
        folder = self._folder / "api"
        folder.mkdir()
        # Cheap password hashes make many users quickly; no figure here has one in it. The same
        # prompts come in every part, and each is to be answered by the model.
        env = {
            "BCRYPT_ROUNDS": "4",
            "MODELS_DIR": str(self._models()),
            "RESPONSE_CACHE_BYTES_MAX": "0",
        }
        try:
            with running(Service(folder=folder, env=env)) as service:
                self._measure("memory", lambda: memory.with_model(service))
                self._measure("chat", lambda: self._overhead(service, messages))
                self._measure(
                    "balance", lambda: balance.balance_queries(service, users=100, seconds=seconds)
                )
        except (RuntimeError, OSError) as error:
            self.failures["service"] = repr(error)

    def _overhead(self, service: Service, messages: int) -> list[Figure]:
        figures, self._engine_ms = overhead.api_overhead(service, messages=messages)
        return figures

    def _engine_alone(self, messages: int) -> list[Figure]:
        if self._engine_ms is None:
            return []
        return [overhead.engine_alone(self._models(), self._engine_ms, messages=messages)]

    def _lag(self, seconds: float) -> list[Figure]:
        return suite.read_model_lag(
            self._folder, commands_per_s=suite.LAG_COMMANDS_PER_S, seconds=seconds
        )

    def _models(self) -> Path:
        """The folder of models: that of the first start, or prepared now."""
        return decode.prepared_models(self._prepared / "data" / "models")

    def _measure(self, part: str, measure: Callable[[], list[Figure]]) -> None:
        if part not in self._parts:
            return
        began = time.perf_counter()
        print(f"{part} …", end=" ", file=sys.stderr, flush=True)
        try:
            self.figures += measure()
        except Exception as error:  # noqa: BLE001 - the other parts are worth having
            self.failures[part] = repr(error)
            print(f"failed: {error}", file=sys.stderr)
            return
        print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A folder on a disk; the system's temporary folder may be in memory."""
    parent = "/var/tmp" if Path("/var/tmp").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="chatledger-bench-", dir=parent) as name:
        os.chmod(name, 0o755)  # noqa: PTH101 - PostgreSQL's own user has to pass through
        yield Path(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, for trying it out")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--note", default="", help="what else was running, for the record")
    parser.add_argument("--save", action="store_true", help="under the date, to be committed")
    options = parser.parse_args()
    # Servers that start and stop would fill the terminal.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    described = machine.describe()
    began = time.perf_counter()
    with _scratch_folder() as folder:
        bench = _Bench(folder, set(options.only))
        bench.run(quick=options.quick)
    ended_at = datetime.now(UTC)  # noqa: TID251 - no service runs here
    document = {
        "date": ended_at.isoformat(timespec="seconds"),
        "took_s": round(time.perf_counter() - began),
        "note": options.note,
        "machine": described,
        "load_average_1min_after": round(os.getloadavg()[0], 2),
        "figures": [figure.as_json() for figure in bench.figures],
        "failures": bench.failures,
    }
    _write(document, "latest.local.json")
    if options.save:
        _write(document, f"{str(document['date'])[:10]}.json")
    print(table(bench.figures))
    for part, error in bench.failures.items():
        print(f"{part} could not be measured: {error}")
    return 1 if bench.failures else 0


def _write(document: dict[str, object], name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / name
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    print(f"written to {path.relative_to(Path(__file__).parents[1])}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
