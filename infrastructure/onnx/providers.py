"""Which of ONNX Runtime's providers a model runs on: chosen, checked, and never in silence.

ONNX Runtime takes the CPU without a word where CUDA's libraries or a GPU are missing, and gives
single nodes to the CPU where CUDA has no kernel. A graph is therefore made for one provider and
runs there or not at all.
"""

import contextlib
import io
import logging
from collections.abc import Sequence

from application.inference import ModelUnavailable
from infrastructure.onnx.config import Provider

_log = logging.getLogger(__name__)

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


def check_provider(
    found: Sequence[str], chosen: Provider, *, title: str, prepare_command: str
) -> str:
    """What people read of the provider that a session has. found: `session.get_providers()`.

    Raises ModelUnavailable where it is not the chosen one.
    """
    first = shown(found[0])
    if first != shown(CUDA_PROVIDER if chosen is Provider.CUDA else CPU_PROVIDER):
        raise ModelUnavailable(
            f"{title} was to run on {chosen.upper()}, but ONNX Runtime only offers {first} here:"
            " install NVIDIA's driver and `pip install 'chatledger[cuda]'`, or run"
            f" `{prepare_command} --provider cpu`"
        )
    return first


def provider_names(chosen: Provider) -> list[str]:
    """For `InferenceSession`. CUDA's libraries are loaded out of NVIDIA's packages first."""
    if chosen is Provider.CPU:
        return [CPU_PROVIDER]
    _preload_cuda()
    return [CUDA_PROVIDER, CPU_PROVIDER]


def _preload_cuda() -> None:
    import onnxruntime

    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is None:
        return
    # It prints what it cannot load.
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        preload()
    for line in filter(None, printed.getvalue().splitlines()):
        _log.warning("CUDA: %s", line)
