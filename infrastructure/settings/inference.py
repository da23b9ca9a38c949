"""The settings of the models: how much they may take, and what of their work is kept."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from infrastructure.settings.types import Count, Seconds


class Provider(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class InferenceSettings(BaseSettings):
    max_response_length: Count = Field(500, description="Most tokens of one answer")
    context_tokens_max: Annotated[int, Field(ge=128)] = Field(
        2048, description="Most tokens of prompt and answer together"
    )
    inference_provider: Provider = Field(
        Provider.AUTO, description="`auto` (what a model was prepared for), `cpu` or `cuda`"
    )
    inference_threads: Annotated[int, Field(ge=0)] = Field(
        0, description="Threads of a model's session; 0: one for each core"
    )
    inference_spin_us: Annotated[int, Field(ge=0)] = Field(
        200, description="Microseconds that a model's thread waits in a busy loop before it sleeps"
    )
    inference_rows_max: Count = Field(
        16, description="Messages that one model answers at the same time"
    )
    inference_rows_max_per_user: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Messages of one user that one model answers at the same time; 0: all but one"
        " of INFERENCE_ROWS_MAX, so that others always find room",
    )
    inference_queue_max: Count = Field(
        64,
        description="Messages that may wait for one model; when as many wait, a user with few of"
        " them takes the place of the user with the most, whose newest message is refused",
    )
    inference_queue_max_per_user: Count = Field(
        16, description="Messages of one user that may wait for one model"
    )
    inference_chunk_tokens: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Tokens of a prompt that are read between two steps of other answers; 0:"
        " chosen by the model's size",
    )
    inference_kv_mb: Count = Field(
        2048,
        description="Memory for the keys and values of one model's answers under way, which bounds"
        " their number",
    )
    inference_kept_mb: Annotated[int, Field(ge=0)] = Field(
        128,
        description="Memory in which one model keeps the keys and values of earlier prompts, so"
        " that conversations go on faster; 0: none",
    )
    inference_memory_mb: Annotated[int, Field(ge=0)] = Field(
        0, description="Memory of all loaded models; 0: three quarters of the machine's"
    )
    inference_gpu_memory_mb: Annotated[int, Field(ge=0)] = Field(
        0, description="The GPU's memory for all loaded models; 0: nine tenths of the GPU's"
    )
    inference_cuda_graphs: bool = Field(
        False,
        description="Capture decoding steps on CUDA once and replay them; not tried on a GPU yet",
    )

    response_cache_bytes_max: Annotated[int, Field(ge=0)] = Field(
        16_000_000,
        description="Memory of the cache of answers to repeatable requests (temperature 0, or a"
        " seed); 0: no cache, and no two requests share an answer",
    )
    response_cache_ttl_s: Seconds = Field(
        3600, description="How long an answer stays in that cache"
    )
    response_cache_across_users: bool = Field(
        False, description="Whether an answer that was generated for one user serves others, too"
    )
