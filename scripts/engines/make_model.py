#!/usr/bin/env python3
"""Makes a language model of two million parameters: random weights, and a tokenizer that has learnt Python's own library.

usage: make_model.py FOLDER FILE.gguf          needs numpy, tokenizers, safetensors and gguf; takes seconds

It talks nonsense. Its tokenizer, chat template, context and caches are as real as any. The folder is for vLLM, the file
for llama.cpp; both give the same tokens.
"""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = 4096
WIDTH = 256
INNER = 512
LAYERS = 2
HEADS = 4
KV_HEADS = 2
#: vLLM's kernels for CPU want a multiple of 32.
HEAD = 64
CONTEXT = 8192
START, TURN, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)

Tensors = dict[str, Any]


def main(folder: Path, file: Path) -> None:
    """Make both."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = learn()
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in settings().items():
        (folder / name).write_text(json.dumps(content, indent=1))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    tensors = weights()
    write_gguf(file, json.loads(tokenizer.to_str()), tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})  # last: it says that all is there


def learn() -> Tokenizer:
    """Byte pairs of the standard library."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS,
        special_tokens=[START, TURN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    tokenizer.train([str(path) for path in library[:100]], trainer)
    return tokenizer


def weights() -> Tensors:
    """Random numbers under a Llama's names."""
    source = np.random.default_rng(seed=7)

    def matrix(rows: int, columns: int) -> Any:
        return (source.standard_normal((rows, columns)) * 0.02).astype(np.float16)

    norm = np.ones(WIDTH, np.float16)
    tensors: Tensors = {"model.embed_tokens.weight": matrix(WORDS, WIDTH), "model.norm.weight": norm}
    for layer in range(LAYERS):
        parts = {
            "input_layernorm": norm,
            "post_attention_layernorm": norm,
            "self_attn.q_proj": matrix(HEADS * HEAD, WIDTH),
            "self_attn.k_proj": matrix(KV_HEADS * HEAD, WIDTH),
            "self_attn.v_proj": matrix(KV_HEADS * HEAD, WIDTH),
            "self_attn.o_proj": matrix(WIDTH, HEADS * HEAD),
            "mlp.gate_proj": matrix(INNER, WIDTH),
            "mlp.up_proj": matrix(INNER, WIDTH),
            "mlp.down_proj": matrix(WIDTH, INNER),
        }
        tensors.update({f"model.layers.{layer}.{name}.weight": part for name, part in parts.items()})
    return tensors


def settings() -> dict[str, Any]:
    """The files that vLLM reads beside the weights."""
    special = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float16",
        "vocab_size": WORDS,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": True,
        **special,
    }
    tokens = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": START}
    tokens |= {"model_max_length": CONTEXT, "clean_up_tokenization_spaces": False}
    return {"config.json": config, "generation_config.json": special, "tokenizer_config.json": tokens}


#: Names of a layer's parts: Hugging Face's → llama.cpp's.
PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(file: Path, tokenizer: dict[str, Any], tensors: Tensors) -> None:
    """The same model for llama.cpp."""
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(WORDS)
    add_tokenizer(writer, tokenizer)
    for name, tensor in tensors.items():
        if name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            part = rest.removesuffix(".weight")
            heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KV_HEADS}.get(part)
            tensor = in_pairs(tensor, heads) if heads else tensor
            name = f"blk.{layer}.{PARTS[part]}.weight"
        else:
            name = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
        writer.add_tensor(name, np.ascontiguousarray(tensor.astype(np.float32) if tensor.ndim == 1 else tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: Any, tokenizer: dict[str, Any]) -> None:
    """Words, merges and the template."""
    words = dict(tokenizer["model"]["vocab"])
    by_number = sorted(words, key=lambda word: words[word])
    by_number += [f"<unused{number}>" for number in range(len(by_number), WORDS)]
    special = {token["id"] for token in tokenizer["added_tokens"]}
    kinds = [gguf.TokenType.CONTROL if number in special else gguf.TokenType.NORMAL for number in range(WORDS)]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(by_number)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def in_pairs(weight: Any, heads: int) -> Any:
    """The rows in llama.cpp's order: it turns neighbouring dimensions of a head, Hugging Face the two halves of one."""
    halves = weight.reshape(heads, 2, HEAD // 2, WIDTH)
    return halves.transpose(0, 2, 1, 3).reshape(weight.shape)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
