"""What transformers' AutoTokenizer finds in a directory that we write: `tokenizer_config.json`.

Knows transformers' settings; does not know how a text is encoded. Without this file AutoTokenizer
goes by config.json, where the model is a GPT-2, and returns GPT-2's tokenizer: without its own
files it has an empty vocabulary, and a text has no ids. Nothing says so.
"""

from __future__ import annotations

import json
from pathlib import Path

from cpm_lm.errors import TokenizerError
from cpm_lm.json_file import read_json
from cpm_lm.tokenizer.cpm_files import model_file
from cpm_lm.tokenizer.wordpiece_files import SETTINGS, wordpiece_files

__all__ = ["write_settings"]

OURS = (
    "none. transformers has no tokenizer for this model: use cpm_lm.Tokenizer.load(directory), "
    "whose ids are those of the training"
)
NONE = (
    "none. This model was converted without a tokenizer: it takes ids, or convert it again with "
    "`cpm convert --tokenizer DIRECTORY`"
)
# A tokenizer_class that transformers does not know is no help: version 5 tries a class of its own
# and asks for sentencepiece or tiktoken. Every class of every version prints this value as it is.
REFUSED = "padding_side"


def write_settings(directory: Path) -> str:
    """Write the settings beside the vocabulary in a directory, and return the file's name.

    With BERT's word pieces, AutoTokenizer then returns a BertTokenizer. It does not have CPM's
    tokenizer (its CpmTokenizer is XLNet's, with other ids); it raises a ValueError that says what
    to use. So it does without a vocabulary.
    """
    path = directory / SETTINGS
    if model_file(directory):
        settings = {REFUSED: OURS}
    elif wordpiece_files(directory):
        settings = read_json(path, TokenizerError) if path.is_file() else {}
        if "tokenizer_class" in settings:
            return SETTINGS
        settings = {"tokenizer_class": "BertTokenizer"} | settings
    else:
        settings = {REFUSED: NONE}
    path.write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", "utf-8")
    return SETTINGS
