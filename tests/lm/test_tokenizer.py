"""The byte-level tokenizer and its token files."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from backends.lm.load import LanguageModel
from backends.lm.settings import END_OF_TEXT
from backends.lm.tokenizer import encode_documents, save_tokens, train_tokenizer
from tests.fakes.language import CONTEXT, SENTENCES, tiny_tokenizer

AWKWARD = (
    "",
    " ",
    "  two spaces before\tand a tab ",
    "a NUL \0 in the middle",
    "\r\n line ends \n\n\n",
    "family \U0001f469\u200d\U0001f469\u200d\U0001f467 and a flag \U0001f1eb\U0001f1f7",
    "e\u0301 is not \u00e9, \ufeff is a mark, \ufffd is a replacement",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u4e2d\u6587 \u0939\u093f\u0928\u094d\u0926\u0940",
    "\x00\x01\x1b[31m\x7f\x80\x9f",
    f"the piece {END_OF_TEXT} in words",
    "\U0010ffff",
)


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_strings_round_trip(lm: LanguageModel, text: str):
    assert lm.tokenizer.decode(lm.encode(text)) == text


def test_any_string_round_trips(lm: LanguageModel):
    chance = random.Random(0)
    for _ in range(300):
        planes = [(0, 0x80), (0, 0x800), (0xE000, 0x10000), (0x10000, 0x110000)]
        text = "".join(chr(chance.randrange(*chance.choice(planes))) for _ in range(chance.randint(0, 40)))
        assert lm.tokenizer.decode(lm.encode(text)) == text


def test_encoding_is_the_same_alone_and_in_a_batch(lm: LanguageModel):
    stream = encode_documents(lm.tokenizer, list(AWKWARD))
    assert stream.tolist() == [i for text in AWKWARD for i in [lm.prefix, *lm.encode(text)]]


def test_one_special_piece_begins_and_ends():
    tokenizer = tiny_tokenizer()
    assert tokenizer.bos_token_id == tokenizer.eos_token_id
    assert tokenizer.all_special_tokens == [END_OF_TEXT]
    assert len(tokenizer) == 320
    assert tokenizer.convert_ids_to_tokens(tokenizer.bos_token_id) == END_OF_TEXT


def test_only_its_own_name_becomes_the_special_piece(lm: LanguageModel):
    for text in AWKWARD:
        assert lm.encode(text).count(lm.prefix) == text.count(END_OF_TEXT)


def test_frequent_words_become_shorter(lm: LanguageModel):
    assert len(lm.encode(SENTENCES[0])) < 0.8 * len(SENTENCES[0])
    assert len(lm.encode("\u4e2d\u6587")) == 6  # unseen: bytes


def test_training_has_one_outcome():
    again = train_tokenizer(SENTENCES, 320, CONTEXT)
    assert again.get_vocab() == tiny_tokenizer().get_vocab()
    assert again.backend_tokenizer.to_str() == tiny_tokenizer().backend_tokenizer.to_str()


def test_stream_splits_back_into_its_documents(lm: LanguageModel):
    stream = encode_documents(lm.tokenizer, list(SENTENCES))
    assert stream.dtype == np.uint16
    starts = np.flatnonzero(stream == lm.prefix)
    assert [lm.tokenizer.decode(part[1:]) for part in np.split(stream, starts[1:])] == list(SENTENCES)


def test_token_files_hold_the_stream(tmp_path: Path, lm: LanguageModel):
    stream = encode_documents(lm.tokenizer, list(SENTENCES))
    save_tokens(stream, tmp_path / "new" / "tokens.npy")
    read = np.load(tmp_path / "new" / "tokens.npy", mmap_mode="r", allow_pickle=False)
    assert read.dtype == np.uint16
    assert np.array_equal(read, stream)


def test_a_token_file_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(file, _tokens, **_options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", stop)
    with pytest.raises(OSError, match="disk full"):
        save_tokens(np.zeros(3, np.uint16), tmp_path / "tokens.npy")
    assert list(tmp_path.iterdir()) == []
