"""Builds tokenizer.json from a GGUF file's vocabulary, when a model is prepared.

GGUF has Gemma's tokens but not the merges that make them. The merges follow from the tokens: each
split of a token into two others is a merge, and its rank is the token's id. A test compares the
result with transformers' own reconstruction.
"""

from collections.abc import Sequence
from pathlib import Path

from infrastructure.inference.preparing.gguf_file import GgufFile

# Values of tokenizer.ggml.token_type.
_CONTROL, _USER_DEFINED, _BYTE = 3, 4, 6
_SPACE = "\u2581"
_UNKNOWN = "<unk>"


def build_tokenizer(file: GgufFile, target: Path) -> None:
    """Write tokenizer.json. Raises ModelFileDamaged if the vocabulary is missing."""
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    # Runs of spaces are stored as spaces, but the normaliser replaces them before the lookup.
    tokens = [
        _SPACE * len(token) if token and not token.strip(" ") else token
        for token in file.strings("tokenizer.ggml.tokens")
    ]
    kinds = file.integers("tokenizer.ggml.token_type").tolist()
    backend = Tokenizer(
        BPE(
            vocab={token: place for place, token in enumerate(tokens)},
            merges=_merges(tokens, kinds),
            unk_token=_UNKNOWN,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Replace(" ", _SPACE)
    backend.pre_tokenizer = pre_tokenizers.Split(pattern=" ", behavior="merged_with_previous")
    backend.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    pairs = list(zip(tokens, kinds, strict=True))
    backend.add_special_tokens(
        [AddedToken(token, normalized=False) for token, kind in pairs if kind == _CONTROL]
    )
    backend.add_tokens(
        [
            AddedToken(token, normalized=False)
            for token, kind in pairs
            if kind == _USER_DEFINED and not token.startswith(_SPACE)
        ]
    )
    backend.save(str(target), pretty=False)


def token_id(file: GgufFile, token: str) -> int | None:
    """The id of a control token such as "<end_of_turn>"; None if the vocabulary lacks it."""
    tokens = file.strings("tokenizer.ggml.tokens")
    return tokens.index(token) if token in tokens else None


def _merges(tokens: Sequence[str], kinds: Sequence[int]) -> list[tuple[str, str]]:
    """By rank of the merged token, then the longest left part first.

    Control and byte tokens have no merges, so that text which spells one stays text.
    """
    known = {
        token for token, kind in zip(tokens, kinds, strict=True) if kind not in (_CONTROL, _BYTE)
    }
    return [
        (token[:cut], token[cut:])
        for token in tokens
        if token in known
        for cut in range(len(token) - 1, 0, -1)
        if token[:cut] in known and token[cut:] in known
    ]
