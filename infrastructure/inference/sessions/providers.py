"""Chooses the ONNX Runtime provider that a model runs on, and checks that it really runs there.

ONNX Runtime falls back to the CPU silently if CUDA's libraries or a GPU are missing, and runs
single nodes on the CPU if CUDA has no kernel for them. Therefore a graph is made for one provider,
and runs there or not at all.
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


def provider_title(provider: str) -> str:
    """The name for people of a provider that ONNX Runtime names: "CPU", "CUDA"."""
    return _NAMES.get(provider, provider)


def chosen_provider(
    made_for: Provider, setting: str, *, required: bool, title: str, prepare_command: str
) -> Provider:
    """The provider that a model is to run on.

    made_for: the one its graph was made for. setting: "auto", "cpu" or "cuda".
    required: whether a graph for another provider than the setting's is an error. If not, the model
    runs where it can, and the log says so.
    Raises ModelUnavailable, whose text has the command that makes a suitable graph.
    """
    if setting in ("auto", made_for.value):
        return made_for
    remedy = f"run `{prepare_command} --provider {setting}`"
    said = (
        f"{title} was prepared for {made_for.upper()}, but INFERENCE_PROVIDER asks for"
        f" {setting.upper()}: {remedy}"
    )
    # A graph for CUDA cannot run elsewhere: the CPU has no kernels for half precision.
    if required or made_for is Provider.CUDA:
        raise ModelUnavailable(said)
    _log.warning("%s; it runs on %s meanwhile", said, made_for.upper())
    return made_for


def opened_session(
    open_session: Callable[[], Any], chosen: Provider, *, title: str, prepare_command: str
) -> tuple[Any, str]:
    """A session that runs on the chosen provider, and that provider's name for people.

    Raises ModelUnavailable if ONNX Runtime does not offer the provider here, or if the graph cannot
    be opened on CUDA.
    """
    not_offered = ModelUnavailable(
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
        raise not_offered from error
    found = provider_title(session.get_providers()[0])
    if found.lower() != chosen.value:
        raise not_offered
    return session, found


def provider_names(chosen: Provider) -> list[str]:
    """For `InferenceSession`. For CUDA this first loads its libraries, see `preload_cuda`."""
    if chosen is Provider.CPU:
        return [CPU_PROVIDER]
    preload_cuda()
    return [CUDA_PROVIDER, CPU_PROVIDER]


@cache
def preload_cuda() -> None:
    """Load CUDA's libraries from NVIDIA's Python packages, once."""
    import onnxruntime

    # Otherwise each session on CUDA logs warnings about plug-ins and about copies.
    onnxruntime.set_default_logger_severity(LOG_ERRORS_ONLY)
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is None:
        return
    # It prints the libraries that it cannot load; they belong into the log.
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        preload()
    for line in filter(None, printed.getvalue().splitlines()):
        _log.warning("CUDA: %s", line)
