"""tokenizer.json out of a GGUF file's vocabulary, at preparation time.

GGUF keeps Gemma's pieces but not the merges that join them. They follow from the pieces: every
split of a piece into two others is a merge, and the piece's place in the vocabulary is its
rank. A test holds the result against transformers' own reconstruction.
"""

from collections.abc import Sequence
from pathlib import Path

from infrastructure.inference.preparing.gguf_file import GgufFile

# Values of tokenizer.ggml.token_type.
_CONTROL, _USER_DEFINED, _BYTE = 3, 4, 6
_SPACE = "\u2581"
_UNKNOWN = "<unk>"


def build_tokenizer(file: GgufFile, target: Path) -> None:
    """Write tokenizer.json. Raises ModelFileDamaged when the vocabulary is missing."""
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    # Runs of spaces are stored as spaces but looked up after the normaliser has replaced them.
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
    """The id of a control token such as "<end_of_turn>", None where the vocabulary lacks it."""
    tokens = file.strings("tokenizer.ggml.tokens")
    return tokens.index(token) if token in tokens else None


def _merges(tokens: Sequence[str], kinds: Sequence[int]) -> list[tuple[str, str]]:
    """By rank of the joined piece, then longest left part first.

    Control and byte pieces take no part: text that merely spells one must stay text.
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
