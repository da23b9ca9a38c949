"""What waiting in line does to a message as the service gets busier: a simulation.

`python -m benchmarks.queueing` backs what docs/growth.md says. Two lines, as the service has them:

- Commits: whoever waits when a flush ends is stored by the next one (group commit). A transaction
  of n commands takes `fixed_s + n · command_s`.
- Answers: up to `rows_max` generate at once; a step of n rows takes `step_s · (1 + growth · (n-1))`
  and gives each of them a token. Others wait their turn.

Arrivals are a Poisson process. With a batch of one the first line is an M/D/1 queue, whose mean
wait is known (Pollaczek-Khinchine): a test holds the simulation to it.
"""

import argparse
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CommitLine:
    """fixed_s: of a transaction of any size: round trip, lock, flush. command_s: in addition for
    each command. batch_max: commands in one transaction."""

    fixed_s: float = 0.001
    command_s: float = 0.000109
    batch_max: int = 512

    @property
    def commands_per_s_max(self) -> float:
        return self.batch_max / (self.fixed_s + self.batch_max * self.command_s)


@dataclass(frozen=True, kw_only=True)
class AnswerLine:
    """step_s: of a batch of one. growth: how much longer a step takes for each further row.
    tokens_mean: of an answer, geometrically distributed."""

    step_s: float = 0.0172
    growth: float = 0.29
    rows_max: int = 8
    tokens_mean: float = 100

    def tokens_per_s(self, rows: int) -> float:
        return rows / (self.step_s * (1 + self.growth * (rows - 1)))

    @property
    def answers_per_s_max(self) -> float:
        return self.tokens_per_s(self.rows_max) / self.tokens_mean


def arrivals(rate_per_s: float, count: int, chance: np.random.Generator) -> Times:
    gaps: Times = chance.exponential(1 / rate_per_s, count)
    return np.cumsum(gaps)


def commit_latencies(line: CommitLine, came_s: Times) -> Times:
    """From arrival to stored, in seconds, for each arrival in order."""
    latencies = np.empty_like(came_s)
    free_s, first = 0.0, 0
    while first < len(came_s):
        begins_s = max(free_s, float(came_s[first]))
        waiting = int(np.searchsorted(came_s, begins_s, side="right")) - first
        size = min(max(1, waiting), line.batch_max)
        free_s = begins_s + line.fixed_s + size * line.command_s
        latencies[first : first + size] = free_s - came_s[first : first + size]
        first += size
    return latencies


def answer_latencies(
    line: AnswerLine, came_s: Times, chance: np.random.Generator
) -> tuple[Times, Times]:
    """From arrival to the first token and to the last one, in seconds, in order of arrival."""
    tokens = chance.geometric(1 / line.tokens_mean, len(came_s))
    first_s, last_s = np.empty_like(came_s), np.empty_like(came_s)
    waiting: deque[int] = deque()
    rows: dict[int, int] = {}
    now_s, next_arrival = 0.0, 0
    while next_arrival < len(came_s) or waiting or rows:
        if not rows and not waiting:
            now_s = max(now_s, float(came_s[next_arrival]))
        while next_arrival < len(came_s) and came_s[next_arrival] <= now_s:
            waiting.append(next_arrival)
            next_arrival += 1
        while waiting and len(rows) < line.rows_max:
            joined = waiting.popleft()
            rows[joined] = int(tokens[joined])
        now_s += line.step_s * (1 + line.growth * (len(rows) - 1))
        for one, left in list(rows.items()):
            if left == tokens[one]:
                first_s[one] = now_s - came_s[one]
            rows[one] = left - 1
            if left == 1:
                last_s[one] = now_s - came_s[one]
                del rows[one]
    return first_s, last_s


def _percentiles(latencies_s: Times) -> str:
    # The first ones find an empty line, as nobody does in a busy service.
    steady = latencies_s[len(latencies_s) // 5 :] * 1000
    return " ".join(f"{np.percentile(steady, p):9.1f}" for p in (50, 99, 99.9))


def main() -> None:
    """What waiting in line does as the service gets busier."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--fixed-ms", type=float, default=CommitLine.fixed_s * 1000)
    parser.add_argument("--command-us", type=float, default=CommitLine.command_s * 1e6)
    parser.add_argument("--step-ms", type=float, default=AnswerLine.step_s * 1000)
    parser.add_argument("--growth", type=float, default=AnswerLine.growth)
    parser.add_argument("--tokens", type=float, default=AnswerLine.tokens_mean)
    parser.add_argument("--count", type=int, default=200_000, help="simulated commands")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = np.random.default_rng(options.seed)
    commits = CommitLine(fixed_s=options.fixed_ms / 1000, command_s=options.command_us / 1e6)
    answers = AnswerLine(
        step_s=options.step_ms / 1000, growth=options.growth, tokens_mean=options.tokens
    )
    print(f"seed {options.seed}; {commits}; {answers}")
    print(f"\nCommits: at most {commits.commands_per_s_max:,.0f} commands/s")
    print(f"{'of that':>8} {'commands/s':>11} {'p50 ms':>9} {'p99 ms':>9} {'p99.9 ms':>9}")
    for share in (0.01, 0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95):
        rate = share * commits.commands_per_s_max
        latencies = commit_latencies(commits, arrivals(rate, options.count, chance))
        print(f"{share:8.0%} {rate:11,.0f} {_percentiles(latencies)}")
    most = answers.answers_per_s_max
    print(
        f"\nAnswers of {answers.tokens_mean:.0f} tokens, {answers.rows_max} at once:"
        f" at most {most:.2f}/s; first token, then whole answer"
    )
    print(f"{'of that':>8} {'answers/s':>11} {'p50 ms':>9} {'p99 ms':>9} {'p99.9 ms':>9}")
    for share in (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95):
        came_s = arrivals(share * most, options.count // 20, chance)
        first_s, last_s = answer_latencies(answers, came_s, chance)
        print(f"{share:8.0%} {share * most:11.2f} {_percentiles(first_s)}  {_percentiles(last_s)}")


if __name__ == "__main__":
    main()
