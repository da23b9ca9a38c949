"""The simulation behind docs/growth.md, compared with what queueing theory computes exactly."""

import numpy as np
import pytest

from benchmarks.queueing import (
    AnswerLine,
    CommitLine,
    answer_latencies,
    arrivals,
    commit_latencies,
)

COUNT = 200_000


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_command_a_transaction_waits_as_pollaczek_and_khinchine_say(load: float) -> None:
    line = CommitLine(fixed_s=0.001, command_s=0.0, batch_max=1)
    came_s = arrivals(load / line.fixed_s, COUNT, np.random.default_rng(1))

    waited_s = commit_latencies(line, came_s).mean() - line.fixed_s

    assert waited_s == pytest.approx(line.fixed_s * load / (2 * (1 - load)), rel=0.05)


def test_a_batch_keeps_up_where_single_commits_could_not() -> None:
    line = CommitLine(fixed_s=0.001, command_s=0.00005)
    came_s = arrivals(8_000, COUNT, np.random.default_rng(2))

    latencies_s = commit_latencies(line, came_s)

    # What comes during one transaction is stored by the next: T = fixed + rate · T · command.
    transaction_s = line.fixed_s / (1 - 8_000 * line.command_s)
    assert latencies_s.mean() == pytest.approx(1.5 * transaction_s, rel=0.1)
    assert np.percentile(latencies_s, 99) < 2.5 * transaction_s


def test_a_lonely_answer_takes_its_own_steps_and_a_crowd_what_the_batch_gives() -> None:
    line = AnswerLine(step_s=0.01, growth=0.2, rows_max=8, tokens_mean=50)
    chance = np.random.default_rng(3)
    lonely = arrivals(0.001, 2_000, chance)
    first_s, last_s = answer_latencies(line, lonely, chance)
    assert np.median(first_s) == pytest.approx(line.step_s, rel=1e-6)
    assert last_s.mean() == pytest.approx(line.tokens_mean * line.step_s, rel=0.1)

    crowd = arrivals(3 * line.answers_per_s_max, 2_000, chance)
    _, last_s = answer_latencies(line, crowd, chance)
    finished_s = crowd + last_s
    measured_per_s = len(crowd) / (finished_s.max() - crowd.min())
    assert measured_per_s == pytest.approx(line.answers_per_s_max, rel=0.1)
