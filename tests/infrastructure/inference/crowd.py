"""Many requests of every kind, and a batch in which they come and go."""

import random
from dataclasses import replace

from application.chat.inference import Completion, Delta, GenerationRequest, Sampling
from infrastructure.inference.answers.generation import LoadedModel
from tests.infrastructure.inference.stepping import Stepper, request_of


def varied_requests(
    model: LoadedModel, count: int, *, chunk_tokens: int
) -> list[GenerationRequest]:
    draw = random.Random(4)  # The seed makes the requests the same in every run.
    made = []
    for number in range(count):
        length = draw.choice([1, 5, chunk_tokens - 1, chunk_tokens, 3 * chunk_tokens, 60, 90])
        text = "".join(chr(draw.randrange(97, 123)) for _ in range(length))
        sampling = Sampling(
            temperature=draw.choice([0.0, 0.7, 1.5]),
            top_k=draw.choice([0, 3, 64]),
            top_p=draw.choice([0.6, 0.95, 1.0]),
            min_p=draw.choice([0.0, 0.1]),
            repetition_penalty=draw.choice([1.0, 1.2]),
            seed=number,
            logit_bias=draw.choice([(), ((300, 4.0), (301, -100.0))]),
        )
        stop = draw.choice([(), ("a",), ("zz", "q")])
        # Two in three begin like other requests of their owner.
        text = draw.choice(["", "x" * 40, "y" * 40]) + text
        made.append(
            request_of(
                model,
                text,
                max_tokens=draw.randrange(1, 50),
                sampling=sampling,
                stop=stop,
                owner=draw.choice(["ana", "ben"]),
            )
        )
    return made


def answers_in_a_crowd(
    model: LoadedModel, requests: list[GenerationRequest], *, seed: int
) -> tuple[list[tuple[list[Delta], Completion]], int]:
    """What each request gets while others come, end and leave early, and the largest number of rows
    at once."""
    draw = random.Random(seed)  # The seed makes the comings and goings the same.
    stepper, waiting = Stepper(model, kept_bytes_max=2**20), list(enumerate(requests))
    asked, most = {}, 0
    draw.shuffle(waiting)
    while waiting or stepper.batch.jobs:
        while waiting and stepper.batch.has_room and draw.random() < 0.7:
            number, request = waiting.pop()
            asked[number] = stepper.ask(request)
        if draw.random() < 0.1 and stepper.batch.has_room:
            # Somebody who leaves before the end, at any moment.
            passer_by = stepper.ask(replace(draw.choice(requests), max_tokens=60))
            for _ in range(draw.randrange(6)):
                stepper.round()
            passer_by.job.cancelled = True
        most = max(most, len(stepper.batch.jobs))
        stepper.round()
    return [(one.deltas, one.completion) for _, one in sorted(asked.items())], most
