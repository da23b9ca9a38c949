"""Which of ONNX Runtime's providers a model runs on: chosen, checked, and never in silence.

ONNX Runtime takes the CPU without a word where CUDA's libraries or a GPU are missing, and gives
single nodes to the CPU where CUDA has no kernel. A graph is therefore made for one provider and
runs there or not at all.
"""

import contextlib
import io
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from application.chat.inference_errors import ModelUnavailable
from infrastructure.inference.prepared.config import Provider

_log = logging.getLogger(__name__)

LOG_ERRORS_ONLY = 3

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
_NAMES = {CPU_PROVIDER: "CPU", CUDA_PROVIDER: "CUDA"}


def shown(provider: str) -> str:
    """ONNX Runtime's name of a provider, as people read it."""
    return _NAMES.get(provider, provider)


def chosen_provider(
    made_for: Provider, wish: str, *, required: bool, title: str, prepare_command: str
) -> Provider:
    """Where a model is to run.

    made_for: what its graph was made for. wish: the setting, "auto", "cpu" or "cuda".
    required: a wish that cannot be granted is an error; otherwise the log says so.
    Raises ModelUnavailable with the command that makes a graph as wished.
    """
    if wish in ("auto", made_for.value):
        return made_for
    remedy = f"run `{prepare_command} --provider {wish}`"
    said = (
        f"{title} was prepared for {made_for.upper()}, but INFERENCE_PROVIDER asks for"
        f" {wish.upper()}: {remedy}"
    )
    # Halves have no kernels on the CPU, so this is no wish but an impossibility.
    if required or made_for is Provider.CUDA:
        raise ModelUnavailable(said)
    _log.warning("%s; it runs on %s meanwhile", said, made_for.upper())
    return made_for


def opened_session(
    open_session: Callable[[], Any], chosen: Provider, *, title: str, prepare_command: str
) -> tuple[Any, str]:
    """A session that runs where it was meant to, and what people read of its provider.

    Raises ModelUnavailable where ONNX Runtime offers something else, which it does not say, or
    where the graph then finds no kernels.
    """
    elsewhere = ModelUnavailable(
        f"{title} was to run on {chosen.upper()}, which ONNX Runtime does not offer here:"
        " install NVIDIA's driver and `pip install 'chatledger[cuda]'`, or run"
        f" `{prepare_command} --provider cpu`"
    )
    try:
        session = open_session()
    except Exception as error:
        if chosen is Provider.CPU:
            raise
        _log.exception("%s cannot be opened on CUDA", title)
        raise elsewhere from error
    found = shown(session.get_providers()[0])
    if found.lower() != chosen.value:
        raise elsewhere
    return session, found


def provider_names(chosen: Provider) -> list[str]:
    """For `InferenceSession`. CUDA's libraries are loaded out of NVIDIA's packages first."""
    if chosen is Provider.CPU:
        return [CPU_PROVIDER]
    preload_cuda()
    return [CUDA_PROVIDER, CPU_PROVIDER]


@cache
def preload_cuda() -> None:
    """Load CUDA's libraries out of NVIDIA's packages, once."""
    import onnxruntime

    # Or each session on CUDA says that there is no plug-in for it, and that copies are copies.
    onnxruntime.set_default_logger_severity(LOG_ERRORS_ONLY)
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is None:
        return
    # It prints what it cannot load.
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        preload()
    for line in filter(None, printed.getvalue().splitlines()):
        _log.warning("CUDA: %s", line)
