"""Nothing that may be a secret gets into a log line."""

import json
import subprocess
import sys

import pytest

PASSWORD = "hunter2hunter2"

SCRIPT = f"""
import logging, structlog
from infrastructure.process.logs import configure_logs
configure_logs(level="DEBUG", as_json=AS_JSON)
log = structlog.get_logger()
url = "postgresql://somebody:{PASSWORD}@db.example:5432/ledger"
log.info("event", password="{PASSWORD}", refresh_token="{PASSWORD}", url=url)
log.info("event", Authorization="Bearer {PASSWORD}", api_key="{PASSWORD}", cookie="{PASSWORD}")
log.info("event " + url, secret_key="{PASSWORD}", nested=dict(password="{PASSWORD}", url=url))
log.info("event", urls=[url, "nats://{PASSWORD}@nats.example:4222"], tokens=["{PASSWORD}"])
log.info("event host=db password={PASSWORD} user=x")
log.info("counts", prompt_tokens=7, completion_tokens=9, tokens_per_s=1.5)
logging.getLogger("elsewhere").warning("cannot reach %s", url)
try:
    raise RuntimeError("cannot reach " + url)
except RuntimeError:
    log.exception("failed", password="{PASSWORD}")
    logging.getLogger("elsewhere").exception("failed")
"""


def logged(*, as_json: bool) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("AS_JSON", str(as_json))],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert finished.stdout == "", "logs go to standard error"
    return finished.stderr.splitlines()


def test_json_lines_hold_no_secret() -> None:
    lines = logged(as_json=True)

    assert PASSWORD not in "\n".join(lines)
    events = [json.loads(line) for line in lines]
    assert events[0]["password"] == "***"
    assert events[0]["url"] == "postgresql://somebody:***@db.example:5432/ledger"
    assert all(event["timestamp"].endswith("Z") and event["level"] for event in events)


def test_counts_of_tokens_are_no_secret() -> None:
    counts = next(e for e in map(json.loads, logged(as_json=True)) if e["event"] == "counts")

    assert (counts["prompt_tokens"], counts["completion_tokens"], counts["tokens_per_s"]) == (
        *(7, 9),
        1.5,
    )


def test_readable_lines_hold_no_secret() -> None:
    lines = logged(as_json=False)

    assert PASSWORD not in "\n".join(lines)
    assert any("RuntimeError" in line for line in lines)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_log_that_nothing_reads_makes_nothing_fail(as_json: bool) -> None:
    code = f"""
import logging, os, structlog
from infrastructure.process.logs import configure_logs
configure_logs(level="INFO", as_json={as_json})
log = structlog.get_logger()
log.warning("first")
os.close(2)
log.warning("second")
logging.getLogger("elsewhere").warning("third")
print("done")
"""
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "first" in finished.stderr
    assert finished.stdout == "done\n"
