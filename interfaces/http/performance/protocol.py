"""Wire models of the service's own performance."""

from interfaces.http.fields import WireModel


class MemoryReleasedResponse(WireModel):
    """Sizes in bytes. rss_fell_bytes: by how much the resident memory of the process fell.
    gpu_…_bytes: what the loaded models take of the GPU's memory."""

    rss_fell_bytes: int
    rss_before_bytes: int
    rss_after_bytes: int
    gpu_before_bytes: int
    gpu_after_bytes: int
    kept_bytes_dropped: int
    models_unloaded: list[str]
