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
from cpm_lm.languages import tr
from cpm_lm.messages import quoted, shortened

__all__ = ["GPTConfig", "passed_over"]

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

HUB_KEYS = frozenset(
    "author base_model card_data custom_pipelines datasets eval_results finetuned_from "
    "language library_name license license_link license_name metrics model_index model_name "
    "name_or_path pipeline_tag revision sha tags trust_remote_code version widget".split()
)
"""What the hub and its tools write about a model."""
GENERATION_KEYS = frozenset(
    "assistant_confidence_threshold assistant_early_exit assistant_ensemble_weight "
    "assistant_lookbehind assistant_tokenizer cache_config cache_implementation compile_config "
    "constraints continuous_batching_config disable_compile dola_layers "
    "encoder_repetition_penalty epsilon_cutoff eta_cutoff force_words_ids forced_decoder_ids "
    "generation_config generation_kwargs guidance_scale is_assistant low_memory max_cache_len "
    "max_matching_ngram_size max_new_tokens max_time min_new_tokens min_p num_assistant_tokens "
    "num_assistant_tokens_schedule output_logits penalty_alpha prefill_chunk_size "
    "prompt_lookup_num_tokens renormalize_logits sequence_bias speculation_type stop_strings "
    "target_lookbehind token_healing top_h use_mtp watermarking_config".split()
)
"""What Hugging Face's GenerationConfig has: how a text is drawn, which the caller says."""
TRAINING_KEYS = frozenset(
    "accelerator_config activation_checkpointing activation_checkpointing_kwargs adafactor "
    "adam_beta1 adam_beta2 adam_epsilon auto_find_batch_size average_tokens_across_devices "
    "batch_eval_metrics batch_size beta1 beta2 bf16 bf16_full_eval data_seed "
    "dataloader_drop_last dataloader_in_order dataloader_multiprocessing_context "
    "dataloader_num_workers dataloader_persistent_workers dataloader_pin_memory "
    "dataloader_prefetch_factor ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb "
    "ddp_find_unused_parameters ddp_static_graph ddp_timeout debug deepspeed disable_tqdm "
    "dispatch_batches do_eval do_predict do_train dropout enable_jit_checkpoint epochs "
    "eval_accumulation_steps eval_batch_size eval_delay eval_do_concat_batches eval_on_start "
    "eval_steps eval_strategy eval_use_gather_object evaluation_strategy fp16 fp16_backend "
    "fp16_full_eval fp16_opt_level fsdp fsdp_config full_determinism "
    "gradient_accumulation_steps gradient_checkpointing_kwargs greater_is_better "
    "group_by_length half_precision_backend hub_always_push hub_model_id hub_private_repo "
    "hub_revision hub_strategy hub_token ignore_data_skip include_for_metrics "
    "include_inputs_for_metrics include_num_input_tokens_seen include_tokens_per_second "
    "jit_mode_eval label_names label_smoothing_factor learning_rate length_column_name "
    "liger_kernel_config load_best_model_at_end local_rank log_level log_level_replica "
    "log_on_each_node logging_dir logging_first_step logging_nan_inf_filter logging_steps "
    "logging_strategy lr lr_scheduler_kwargs lr_scheduler_type max_grad_norm max_steps "
    "metric_for_best_model neftune_noise_alpha no_cuda num_epochs num_train_epochs optim "
    "optim_args optim_target_modules optimizer output_dir overwrite_output_dir "
    "parallelism_config past_index per_device_eval_batch_size per_device_train_batch_size "
    "prediction_loss_only project push_to_hub remove_unused_columns report_to "
    "restore_callback_states_from_checkpoint resume_from_checkpoint run_name save_on_each_node "
    "save_only_model save_safetensors save_steps save_strategy save_total_limit scheduler seed "
    "sharded_ddp skip_memory_metrics split_batches tf32 torch_compile torch_compile_backend "
    "torch_compile_mode torch_empty_cache_steps trackio_bucket_id trackio_space_id "
    "trackio_static_space_id train_batch_size train_sampling_strategy use_cpu use_ipex "
    "use_liger_kernel use_mps_device warmup_ratio warmup_steps weight_decay".split()
)
"""What programs that train write: Hugging Face's TrainingArguments, and usual names."""

# Keys that would change the computation, each with the values this network supports.
FIXED_KEYS: dict[str, tuple[Any, ...]] = {
    "n_inner": (None,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}

LIMITS = {
    "n_layer": 10_000,
    "n_head": 1 << 20,
    "n_embd": 1 << 20,
    "n_positions": 1 << 24,
    "vocab_size": 1 << 24,
}
"""Each number must be below its limit, so that no file makes us build a table for billions."""
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

    def __repr__(self) -> str:
        """Return the call that makes it, without the defaults."""
        fields = [(f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self)]
        values = (f"{name}={value!r}" for name, value, default in fields if value != default)
        return f"GPTConfig({', '.join(values)})"

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ConfigError(
                    "{name} is {quoted}; expected a positive integer",
                    name=name,
                    quoted=quoted(value),
                )
            if value >= (limit := LIMITS[name]):
                raise ConfigError(
                    "{name} is {quoted}; expected less than {limit:,}",
                    name=name,
                    quoted=quoted(value),
                    limit=limit,
                )
        if self.n_embd % self.n_head:
            raise ConfigError(
                "n_head {n_head} does not divide n_embd {n_embd}",
                n_head=self.n_head,
                n_embd=self.n_embd,
            )
        if not 0 < self.layer_norm_epsilon < 1:
            raise ConfigError(
                "layer_norm_epsilon is {quoted}; expected a number between 0 and 1",
                quoted=quoted(self.layer_norm_epsilon),
            )
        if self.activation_function not in ("gelu_new", "gelu"):
            raise ConfigError(
                "activation_function is {quoted}; expected 'gelu_new' (tanh) or 'gelu' (erf)",
                quoted=quoted(self.activation_function),
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
        if values.get("quantization_config") is not None:
            raise ConfigError(_packed_elsewhere(values["quantization_config"]))
        values = _one_name_each(values)
        if "n_ctx" in values:  # the older name of n_positions
            values.setdefault("n_positions", values["n_ctx"])
            del values["n_ctx"]
        for name, expected in TYPES.items():
            value = values.get(name, expected())
            if type(value) is not expected and not (expected is float and type(value) is int):
                raise ConfigError(
                    "{name} is {quoted}; expected {type}",
                    name=name,
                    quoted=quoted(value),
                    type=expected.__name__,
                )
        for key, allowed in FIXED_KEYS.items():
            value = values.pop(key, allowed[0])
            if value not in allowed and not (
                key == "n_inner" and value == 4 * values.get("n_embd", 0)
            ):
                raise ConfigError(
                    "{key} is {quoted}; only {allowed!r} is supported",
                    key=key,
                    quoted=quoted(value),
                    allowed=allowed[0],
                )
        known = TYPES.keys() | IGNORED_KEYS | LIBRARY_KEYS | set(passed_over(values))
        if unknown := sorted(values.keys() - known):
            listed = shortened((ascii(key)[1:-1][:60] for key in unknown), ", ")
            raise ConfigError(
                "unknown keys in the model configuration: {listed}; they may change the "
                "computation: remove those of which you know that they do not",
                listed=listed,
            )
        required = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
        if missing := [name for name in required if name not in values]:
            raise ConfigError(
                "missing keys in the model configuration: {missing}", missing=", ".join(missing)
            )
        return cls(**{name: values[name] for name in sorted(TYPES.keys() & values.keys())})

    def to_json(self) -> dict[str, Any]:
        """Return the configuration in Hugging Face's GPT-2 format."""
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            **dataclasses.asdict(self),
        }


def _one_name_each(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration by our names.

    Raises:
        ConfigError: two names of one number have different values.
    """
    named: dict[str, Any] = {}
    for key, value in values.items():
        name = MEGATRON_NAMES.get(key, key)
        if name in named and named[name] != value:
            raise ConfigError(
                "{key} is {quoted}, but another name of it, or {name} itself, has the "
                "value {other}; remove the wrong one",
                key=key,
                quoted=quoted(value),
                name=name,
                other=quoted(named[name]),
            )
        named[name] = value
    return named


def passed_over(values: Mapping[str, Any]) -> list[str]:
    """Return the keys of a configuration that change nothing and are not in every file.

    They are private ones of some program (`_num_labels`), of the hub, of generation or of training.

    >>> passed_over({"n_embd": 8, "_num_labels": 2, "learning_rate": 1e-4, "use_cache": True})
    ['_num_labels', 'learning_rate']
    """
    of_tools = HUB_KEYS | GENERATION_KEYS | TRAINING_KEYS
    usual = TYPES.keys() | IGNORED_KEYS | LIBRARY_KEYS
    return [
        key
        for key, value in values.items()
        if key not in usual
        and (key.startswith("_") or key in of_tools or (key == "auto_map" and not _own_code(value)))
    ]


def _own_code(auto_map: object) -> bool:
    """Say whether a program of the publisher's own, not GPT-2, computes the model."""
    return not isinstance(auto_map, Mapping) or any("Model" in str(key) for key in auto_map)


def _packed_elsewhere(said: object) -> str:
    """Return what to say of weights that another program has packed in fewer bits."""
    method = said.get("quant_method") if isinstance(said, Mapping) else None
    named = tr(" by {method}", method=ascii(method)[1:-1][:40]) if isinstance(method, str) else ""
    return tr(
        "quantization_config says that the weights are packed{named}, in a form "
        "that only the program that packed them reads; get the model in 16 or 32 "
        "bits, and pack that with cpm convert --weights q8 or q4",
        named=named,
    )
