"""The layout of a KV cache, which is the same on the host and on a device.

The first dimension holds the keys of the first layer, its values, the keys of the second, and so
on.
"""

from infrastructure.inference.prepared.config import GemmaConfig

# Rows have a multiple of this many tokens. So on the host they begin on a page boundary, for head
# sizes from 16 on and even with 64 kB pages. A device copies up to this many tokens at a stretch.
TOKENS_STEP = 256


def kv_cache_shape(config: GemmaConfig, *, rows: int, tokens: int) -> tuple[int, ...]:
    """[2 * layers, rows, kv_heads, tokens, head_dim], with the tokens rounded up."""
    tokens = -(-tokens // TOKENS_STEP) * TOKENS_STEP
    return (2 * config.layers, rows, config.kv_heads, tokens, config.head_dim)


def kv_name(kind: str, place: int) -> str:
    """A graph's name for a part of the KV cache, such as "past.3.key".

    kind: "past", "present" or an exporter's word for it. place: in the cache's first dimension.
    """
    return f"{kind}.{place // 2}.{('key', 'value')[place % 2]}"
