"""Property tests of the rules run the same examples every time: a failure in CI is a failure
here. `HYPOTHESIS_PROFILE=explore` searches further, with a fresh seed on each run."""

import os

from hypothesis import HealthCheck, settings

# Pure functions, but on a busy machine: time per example says nothing about the rules.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore",
    deadline=None,
    max_examples=2_000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
