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
        200, description="How long such a thread waits in a busy loop before it sleeps"
    )
    inference_rows_max: Count = Field(16, description="Messages that a model answers at once")
    inference_rows_max_per_user: Annotated[int, Field(ge=0)] = Field(
        0, description="Of them for one user; 0: all but one, so that others always find room"
    )
    inference_queue_max: Count = Field(
        64,
        description="Messages that may wait for a model; when it is full, the user with the most"
        " waiting messages gives one up for a user with fewer",
    )
    inference_queue_max_per_user: Count = Field(16, description="Of them for one user")
    inference_chunk_tokens: Annotated[int, Field(ge=0)] = Field(
        0, description="Prompt tokens read between two tokens of others; 0: by the model's size"
    )
    inference_kv_mb: Count = Field(
        2048, description="Most memory of a model's answers under way, which bounds their number"
    )
    inference_kept_mb: Annotated[int, Field(ge=0)] = Field(
        128, description="Memory a model keeps so that conversations go on faster; 0: none"
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
        description="Memory for answers of repeatable requests (temperature 0, or a seed);"
        " 0 keeps none and shares none",
    )
    response_cache_ttl_s: Seconds = Field(3600, description="How long such an answer is kept")
    response_cache_across_users: bool = Field(
        False, description="Whether one user's kept answers also serve the others"
    )
