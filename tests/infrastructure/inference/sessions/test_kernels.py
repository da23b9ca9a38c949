"""The name of what answers are computed on: everything in it that can change their tokens."""

import platform

import onnxruntime

from infrastructure.inference.sessions.kernels import computed_on, instruction_sets

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R)
flags\t\t: fpu vme sse4_1 fma avx avx2 f16c avx512f avx512_vnni amx_bf16 amx_tile amx_int8

processor\t: 1
flags\t\t: fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes asimdhp asimddp i8mm bf16 sve\n"


def test_the_instruction_sets_are_those_that_kernels_are_chosen_by() -> None:
    assert (
        instruction_sets(INTEL) == "sse4_1 avx avx2 fma f16c avx512f avx512_vnni amx_int8 amx_bf16"
    )
    assert instruction_sets(ARM) == "asimd asimdhp asimddp i8mm bf16 sve"
    assert instruction_sets("processor\t: 0\n") == ""
    assert instruction_sets("") == ""


def test_processors_of_another_class_have_another_name() -> None:
    assert instruction_sets(INTEL) != instruction_sets(INTEL.replace(" amx_int8", ""))
    assert instruction_sets(INTEL) == instruction_sets(INTEL.replace("Xeon(R)", "Core(TM)"))


def test_the_build_and_this_processor_are_named() -> None:
    said = computed_on("CPU")

    assert said.startswith(f"onnxruntime {onnxruntime.__version__}, CPU {platform.machine()}")
    assert said.isprintable()
