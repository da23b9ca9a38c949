"""Where the time of one command went."""

import time

from application.chat.stages import Stages


def test_the_stages_of_a_command_add_up_to_its_time() -> None:
    began_s = time.perf_counter()
    stages = Stages()
    for stage in ("prepare", "hold", "generate"):
        stages.end(stage)
    elapsed_ms = (time.perf_counter() - began_s) * 1000
    assert list(stages.spent_ms) == ["prepare", "hold", "generate"]
    assert 0 <= sum(stages.spent_ms.values()) <= elapsed_ms


def test_parts_that_somebody_else_measured_stand_beside_the_stages() -> None:
    stages = Stages()
    stages.end("generate")
    stages.note(prefill=4.0, decode=90.5)
    assert (stages.spent_ms["prefill"], stages.spent_ms["decode"]) == (4.0, 90.5)
