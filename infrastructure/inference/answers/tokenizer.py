"""Text to token ids and back. At run time this needs only the `tokenizers` library."""

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infrastructure.inference.prepared.errors import ModelFileDamaged

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SPACE = "\u2581"
# Characters that a model may write but a database or a screen can't take: the C0 controls
# without tab and newline, and DEL.
_UNWANTED = dict.fromkeys(code for code in range(32) if chr(code) not in "\t\n")
_UNWANTED[127] = None


class GemmaTokenizer:
    """Text that spells a special token stays text, so a user can't send a control token.

    Safe to call from several threads.
    """

    def __init__(self, backend: "Tokenizer", *, bos_id: int, stop_ids: Sequence[int]) -> None:
        # Otherwise a message that spells <end_of_turn> would end its own turn.
        backend.encode_special_tokens = True
        self._backend = backend
        self.bos_id = bos_id
        self.stop_ids = frozenset(stop_ids)
        self._special = frozenset(
            token_id
            for token_id, token in backend.get_added_tokens_decoder().items()
            if token.special
        )
        vocabulary = backend.get_vocab(with_added_tokens=True)
        self.vocab_size = len(vocabulary)
        self.plain_vocab_size = backend.get_vocab_size(with_added_tokens=False)
        self.token_characters_max = max(map(len, vocabulary))

    @classmethod
    def load(cls, file: Path, *, bos_id: int, stop_ids: Sequence[int]) -> "GemmaTokenizer":
        """Raises ModelFileDamaged when the file can't be read."""
        from tokenizers import Tokenizer

        try:
            backend = Tokenizer.from_file(str(file))
        except Exception as error:
            raise ModelFileDamaged(file, f"it is no tokenizer ({error})") from error
        return cls(backend, bos_id=bos_id, stop_ids=stop_ids)

    def id_of(self, token: str) -> int | None:
        """The id of a single token such as "<end_of_turn>"; None if the vocabulary lacks it."""
        return self._backend.token_to_id(token)

    def encode(self, text: str) -> list[int]:
        """Without a begin-of-sequence token. Lone surrogates become question marks."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        return list(self._backend.encode(clean, add_special_tokens=False).ids)

    def piece(self, token_id: int) -> bytes:
        """The UTF-8 bytes that a token stands for; none for a special or unknown token."""
        if token_id in self._special:
            return b""
        token = self._backend.id_to_token(token_id)
        if token is None:
            return b""
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return bytes([int(token[3:5], 16)])
        return token.replace(_SPACE, " ").encode()


class IncrementalText:
    """Turns tokens into text. The bytes of an unfinished character wait for the rest of it.

    Bytes that never become a whole character are dropped: the model left the character unfinished,
    or the end of the answer cut it off. So a replacement character appears only where the model
    wrote one.
    """

    def __init__(self, tokenizer: GemmaTokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    def push(self, token_id: int) -> str:
        return self._decoder.decode(self._tokenizer.piece(token_id)).translate(_UNWANTED)
