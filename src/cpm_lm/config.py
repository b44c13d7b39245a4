"""The configuration of a model: the hyperparameters that its tensors alone do not determine.

Knows numbers and JSON; does not know weight files, tokenizers or engines. The field names are
those of Hugging Face's GPT-2 configuration, so that other tools read a store's `config.json`
directly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cpm_lm.errors import ConfigError

__all__ = ["GPTConfig"]

# The names in the original's configuration files (Megatron-LM), and ours.
MEGATRON_NAMES = {
    "num_layers": "n_layer",
    "hidden_size": "n_embd",
    "num_attention_heads": "n_head",
    "max_sequence_length": "n_positions",
    "max_position_embeddings": "n_positions",
}

# Keys of published configurations that do not change the output at inference.
IGNORED_KEYS = frozenset(
    "_name_or_path architectures attn_pdrop attention_dropout_prob attention_probs_dropout_prob "
    "bos_token_id dtype embd_pdrop embedding_dropout_prob eos_token_id gradient_checkpointing "
    "hidden_dropout_prob initializer_range make_vocab_size_divisible_by model_type n_special "
    "output_dropout_prob pad_token_id predict_special_tokens quantization resid_pdrop "
    "summary_activation "
    "summary_first_dropout summary_proj_to_labels summary_type summary_use_proj "
    "task_specific_params tie_word_embeddings tokenizer_class torch_dtype transformers_version "
    "use_cache".split()
)

# Keys that Hugging Face's library writes into every configuration. They concern other tasks, or
# sampling, whose options come from the caller.
LIBRARY_KEYS = frozenset(
    "bad_words_ids begin_suppress_tokens chunk_size_feed_forward cross_attention_hidden_size "
    "decoder_start_token_id diversity_penalty do_sample early_stopping "
    "encoder_no_repeat_ngram_size eos_token_ids exponential_decay_length_penalty finetuning_task "
    "forced_bos_token_id forced_eos_token_id id2label is_decoder label2id length_penalty "
    "mask_token_id max_length min_length no_repeat_ngram_size num_beam_groups num_beams "
    "num_labels num_return_sequences output_attentions output_hidden_states output_past "
    "output_scores prefix problem_type remove_invalid_values repetition_penalty return_dict "
    "return_dict_in_generate sep_token_id suppress_tokens temperature tf_legacy_loss "
    "tie_encoder_decoder top_k top_p torchscript typical_p unk_token_id use_bfloat16 "
    "use_return_dict xla_device".split()
)

# Keys that would change the computation, each with the values this network supports.
FIXED_KEYS: dict[str, tuple[Any, ...]] = {
    "n_inner": (None,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({}, None),
}

LIMITS = {"n_layer": 10_000}
TYPES: dict[str, type] = {
    **dict.fromkeys(("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"), int),
    "layer_norm_epsilon": float,
    "activation_function": str,
}
"""The JSON type of each key."""


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """The hyperparameters of a GPT.

    Raises:
        ConfigError: a number is out of range, the number of heads does not divide the width, or
            the activation function is unknown.
    """

    vocab_size: int
    """V, the number of vocabulary pieces: the rows of the word embedding."""
    n_positions: int
    """The longest context in tokens: the rows of the position embedding."""
    n_embd: int
    """D, the width of the residual stream."""
    n_layer: int
    """L, the number of layers."""
    n_head: int
    """N, the number of attention heads; must divide n_embd."""
    layer_norm_epsilon: float = 1e-5
    """Added to the variance in every LayerNorm (the original: 1e-5)."""
    activation_function: str = "gelu_new"
    """`gelu_new`, the original's tanh form, or `gelu`, the erf form of other families."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ConfigError(f"{name} is {value!r}; expected a positive integer")
            # A damaged file must not make us build a table of billions of tensor names.
            if value >= (limit := LIMITS.get(name, 1 << 31)):
                raise ConfigError(f"{name} is {value}; expected less than {limit:,}")
        if self.n_embd % self.n_head:
            raise ConfigError(f"n_head {self.n_head} does not divide n_embd {self.n_embd}")
        if not 0 < self.layer_norm_epsilon < 1:
            raise ConfigError(
                f"layer_norm_epsilon is {self.layer_norm_epsilon}; "
                "expected a number between 0 and 1"
            )
        if self.activation_function not in ("gelu_new", "gelu"):
            raise ConfigError(
                f"activation_function is {self.activation_function!r}; "
                "expected 'gelu_new' (tanh) or 'gelu' (erf)"
            )

    @property
    def head_size(self) -> int:
        """H, the size of one attention head."""
        return self.n_embd // self.n_head

    @property
    def parameter_count(self) -> int:
        """The number of parameters; the tied output matrix is counted once.

        2,597,073,920 for CPM-LM.
        """
        D = self.n_embd
        block = 12 * D * D + 13 * D
        return (self.vocab_size + self.n_positions) * D + self.n_layer * block + 2 * D

    @property
    def node_bytes(self) -> int:
        """The size of one token's KV cache in bytes, float32, all layers."""
        return 2 * 4 * self.n_layer * self.n_embd

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> GPTConfig:
        """Read a configuration with Hugging Face's key names or the original's.

        Raises:
            ConfigError: a key is missing, unknown, of the wrong type, or has a value that this
                network does not support.
        """
        values = {MEGATRON_NAMES.get(key, key): value for key, value in values.items()}
        if "n_ctx" in values:  # the older name of n_positions
            values.setdefault("n_positions", values["n_ctx"])
            del values["n_ctx"]
        for name, expected in TYPES.items():
            value = values.get(name, expected())
            if type(value) is not expected and not (expected is float and type(value) is int):
                raise ConfigError(f"{name} is {value!a:.80}; expected {expected.__name__}")
        for key, allowed in FIXED_KEYS.items():
            value = values.pop(key, allowed[0])
            if value not in allowed and not (
                key == "n_inner" and value == 4 * values.get("n_embd", 0)
            ):
                raise ConfigError(f"{key} is {value!r}; only {allowed[0]!r} is supported")
        if unknown := sorted(values.keys() - TYPES.keys() - IGNORED_KEYS - LIBRARY_KEYS):
            raise ConfigError(f"unknown keys in the model configuration: {', '.join(unknown)}")
        required = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
        if missing := [name for name in required if name not in values]:
            raise ConfigError(f"missing keys in the model configuration: {', '.join(missing)}")
        return cls(**{name: values[name] for name in sorted(TYPES.keys() & values.keys())})

    def to_json(self) -> dict[str, Any]:
        """Return the configuration in Hugging Face's GPT-2 format."""
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            **dataclasses.asdict(self),
        }
