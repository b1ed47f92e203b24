"""Attention in plain torch, sequence by sequence."""

from dataclasses import dataclass, field
from typing import Any

import torch
from lmdeploy.pytorch.backends.attention import AttentionImpl, AttentionMetadata, PagedAttentionBuildSpec
from lmdeploy.pytorch.backends.flash_attention import FlashAttentionBuildSpec, FlashAttentionImpl
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

NO_WINDOW = (None, -1, (-1, -1))


@dataclass
class CpuAttentionMetadata(AttentionMetadata):
    """A step of the engine: each sequence has `q_lens` new tokens, and `kv_lens` in all.

    `new_blocks` and `new_offsets`, of shape [new tokens], say where in the paged cache each new token belongs.
    """

    new_blocks: Tensor | None = None
    new_offsets: Tensor | None = None
    q_lens: list[int] = field(default_factory=list)
    kv_lens: list[int] = field(default_factory=list)
    block_tokens: int = 64


def metadata_of(context: Any) -> CpuAttentionMetadata:
    """Of one `StepContext`."""
    block_tokens = context.cache_config.kernel_block_size
    q_lens, kv_lens = context.q_seqlens.tolist(), context.kv_seqlens.tolist()
    positions = [torch.arange(kv - q, kv) for q, kv in zip(q_lens, kv_lens, strict=True)]
    blocks = [row.long()[at // block_tokens] for row, at in zip(context.block_offsets, positions, strict=False)]
    return CpuAttentionMetadata(
        is_decoding=context.is_decoding,
        block_offsets=context.block_offsets.long(),
        q_start_loc=context.q_start_loc,
        q_seqlens=context.q_seqlens,
        kv_seqlens=context.kv_seqlens,
        cu_seqlens_q=_starts(context.q_seqlens),
        cu_seqlens_k=_starts(context.kv_seqlens),
        quant_policy=context.kv_quant_policy,
        new_blocks=torch.cat(blocks),
        new_offsets=torch.cat([at % block_tokens for at in positions]),
        q_lens=q_lens,
        kv_lens=kv_lens,
        block_tokens=block_tokens,
    )


class CpuPagedAttention(AttentionImpl[CpuAttentionMetadata]):
    """Write keys and values into the paged cache, gather them per sequence, attend."""

    def __init__(self, spec: PagedAttentionBuildSpec) -> None:
        super().__init__(
            spec.num_heads,
            spec.head_dim,
            spec.scale,
            spec.num_kv_heads,
            spec.v_head_dim,
            spec.alibi,
            spec.sliding_window,
            spec.logit_softcapping,
            spec.causal,
            spec.use_flash_mla,
        )
        special = spec.alibi or spec.logit_softcapping or spec.learnable_sink or spec.use_flash_mla
        if special or not spec.causal or spec.sliding_window not in NO_WINDOW:
            raise NotImplementedError(f"LMDeploy's CPU device has no attention like {spec}")

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        k_cache: Tensor,
        v_cache: Tensor,
        attn_metadata: CpuAttentionMetadata,
        **_: Any,
    ) -> Tensor:
        """`query` [new tokens, heads, head_dim]; the caches [blocks, tokens of a block, KV heads, head_dim]."""
        step = attn_metadata
        k_cache[step.new_blocks, step.new_offsets] = key.view(-1, self.num_kv_heads, self.head_size)
        v_cache[step.new_blocks, step.new_offsets] = value.view(-1, self.num_kv_heads, self.v_head_size)
        queries = query.view(-1, self.num_heads, self.head_size).split(step.q_lens)
        attended = []
        for one, blocks, kv_len in zip(queries, step.block_offsets, step.kv_lens, strict=False):
            used = blocks[: -(-kv_len // step.block_tokens)]
            keys, values = (cache[used].flatten(0, 1)[:kv_len] for cache in (k_cache, v_cache))
            attended.append(_attend(one, keys, values, self.scale, causal=True))
        return torch.cat(attended)


class CpuFlashAttention(FlashAttentionImpl):
    """Attention within sequences that lie one after the other: vision towers."""

    def __init__(self, spec: FlashAttentionBuildSpec) -> None:
        if spec.logit_softcapping or spec.sliding_window not in NO_WINDOW:
            raise NotImplementedError(f"LMDeploy's CPU device has no attention like {spec}")
        self._scale, self._causal = spec.scale, spec.causal

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        q_start_loc: Tensor,
        q_seqlens: Tensor,
        kv_start_loc: Tensor,
        kv_seqlens: Tensor,
        max_q_seqlen: int | None = None,
    ) -> Tensor:
        """`query` [..., heads, head_dim], of which the leading dimensions together are the tokens."""
        q, k, v = (tensor.flatten(0, -3) for tensor in (query, key, value))
        attended = q.new_zeros(q.shape[0], q.shape[1], v.shape[-1])
        bounds = (tensor.tolist() for tensor in (q_start_loc, q_seqlens, kv_start_loc, kv_seqlens))
        for q_at, q_len, kv_at, kv_len in zip(*bounds, strict=True):
            kv = slice(kv_at, kv_at + kv_len)
            one = _attend(q[q_at : q_at + q_len], k[kv], v[kv], self._scale, self._causal)
            attended[q_at : q_at + q_len] = one
        return attended.view(*query.shape[:-1], v.shape[-1])


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None, causal: bool) -> Tensor:
    """One sequence, tokens first. Causal: the queries are the last of the keys' positions."""
    q_len, kv_len = len(query), len(key)
    mask = torch.ones(q_len, kv_len, dtype=torch.bool).tril(kv_len - q_len) if causal and q_len > 1 else None
    heads_first = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
    attended = scaled_dot_product_attention(*heads_first, attn_mask=mask, scale=scale, enable_gqa=True)
    return attended[0].transpose(0, 1)


def _starts(lengths: Tensor) -> Tensor:
    return pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
