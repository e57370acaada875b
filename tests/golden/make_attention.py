#!/usr/bin/env python3
"""Makes attention.safetensors and attention.json: attention, its module and transformer layers as PyTorch
computes them.

Conventions are those of make_torch.py; see README.md. A mask is stored as integers, one where a key counts.
"""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from recorder import Case, save

torch.set_default_dtype(torch.float64)


def attention(name, q=(2, 2, 5, 4), kv=(2, 7, 3), mask=None, bias=None, causal=False, scale=None, spread=1.0):
    """kv: heads of keys and values, keys, features of values. mask, bias: shapes."""
    c = Case("attention", name, causal=causal, scale=scale)
    b, h, tq, d = q
    groups, tk, dv = kv
    leaves = {
        "q": c.normal("q", q, spread),
        "k": c.normal("k", (b, groups, tk, d), spread),
        "v": c.normal("v", (b, groups, tk, dv)),
    }
    added = torch.zeros(())
    if mask is not None:
        open_ = c.rng.random(mask) < 0.6
        # PyTorch has no answer for a row without open keys.
        open_[..., 0] = True
        added = torch.where(c.ints("mask", open_) != 0, 0.0, -math.inf)
    if bias is not None:
        leaves["bias"] = c.normal("bias", bias)
        added = added + leaves["bias"]
    heads = [leaves[x].repeat_interleave(h // groups, dim=1) for x in "kv"]
    if scale is None and not causal:
        y, _ = F._scaled_dot_product_attention(leaves["q"], *heads, attn_mask=added, need_attn_weights=True)
    else:
        s = leaves["q"] @ heads[0].mT * (scale or 1 / math.sqrt(d)) + added
        if causal:
            s = s.masked_fill(torch.ones(tq, tk).tril() == 0, -math.inf)
        y = s.softmax(-1) @ heads[1]
        if causal and mask is None and bias is None and scale is None:
            other, _ = F._scaled_dot_product_attention(leaves["q"], *heads, is_causal=True)
            assert (y - other).abs().max() < 1e-12, name
    c.finish(y, leaves)


attention("plain")
attention("one", (1, 1, 1, 1), (1, 1, 1))
attention("one_query", (2, 3, 1, 8), (3, 9, 8))
attention("wide_values", (1, 2, 6, 3), (2, 6, 11))
attention("deep", (1, 1, 4, 64), (1, 6, 64))
attention("long", (1, 1, 40, 3), (1, 45, 2))
attention("spread", spread=6.0)
attention("scale", scale=1.7)
attention("causal", (2, 2, 6, 4), (2, 6, 3), causal=True)
attention("causal_cross_more_keys", (1, 2, 4, 3), (2, 7, 3), causal=True)
attention("causal_cross_more_queries", (1, 2, 7, 3), (2, 4, 3), causal=True)
attention("causal_long", (1, 1, 37, 2), (1, 37, 2), causal=True)
attention("mask", mask=(2, 2, 5, 7))
attention("mask_pairs", mask=(5, 7))
attention("mask_keys", mask=(2, 1, 1, 7))
attention("mask_causal", (1, 2, 6, 4), (2, 6, 3), mask=(6, 6), causal=True)
attention("bias", bias=(2, 2, 5, 7))
attention("bias_heads", bias=(2, 5, 7))
attention("bias_keys", bias=(2, 1, 1, 7))
attention("bias_pairs", bias=(5, 7))
attention("mask_bias", mask=(2, 1, 1, 7), bias=(2, 5, 7))
attention("bias_causal_scale", (1, 2, 6, 4), (2, 6, 3), bias=(2, 6, 6), causal=True, scale=0.3)
attention("grouped", (2, 4, 5, 3), (2, 6, 4))
attention("grouped_causal", (1, 6, 5, 2), (3, 5, 2), causal=True)
attention("multi_query", (2, 3, 4, 4), (1, 5, 2))
attention("grouped_bias", (1, 4, 3, 2), (2, 5, 2), bias=(4, 3, 5))


def module(op, name, build, call, inputs, **options):
    """Stores a module's parameters under their names, and the gradients of all."""
    c = Case(op, name, **options)
    torch.manual_seed(0)
    net = build().double().train()
    leaves = {}
    for path, parameter in net.named_parameters():
        value = c.normal(path, tuple(parameter.shape), 0.4)
        with torch.no_grad():
            parameter.copy_(value)
        leaves[path] = parameter
    for what, shape in inputs.items():
        leaves[what] = c.normal(what, shape)
    c.finish(call(net, leaves), leaves)


def triangle(t):
    return torch.ones(t, t).tril() == 0


def heads(name, cross=False, causal=False, heads=2, e=6, bias=True):
    inputs = {"x": (2, 4, e), **({"memory": (2, 5, e)} if cross else {})}

    def call(net, t):
        memory = t["memory"] if cross else t["x"]
        return net(t["x"], memory, memory, attn_mask=triangle(4) if causal else None, need_weights=False)[0]
    build = lambda: nn.MultiheadAttention(e, heads, bias=bias, batch_first=True)
    module("multi_head_attention", name, build, call, inputs, heads=heads, causal=causal, bias=bias)


heads("self")
heads("self_causal", causal=True)
heads("cross", cross=True)
heads("one_head", heads=1)
heads("three_heads_without_bias", heads=3, bias=False)


def encoder(name, norm_first, activation, causal):
    build = lambda: nn.TransformerEncoderLayer(
        6, 2, dim_feedforward=10, dropout=0.0, activation=activation, batch_first=True, norm_first=norm_first)
    call = lambda net, t: net(t["x"], src_mask=triangle(4) if causal else None)
    module("encoder_layer", name, build, call, {"x": (2, 4, 6)},
           heads=2, hidden=10, norm_first=norm_first, activation=activation, causal=causal)


def decoder(name, norm_first, activation):
    build = lambda: nn.TransformerDecoderLayer(
        6, 3, dim_feedforward=8, dropout=0.0, activation=activation, batch_first=True, norm_first=norm_first)
    call = lambda net, t: net(t["x"], t["memory"], tgt_mask=triangle(4))
    module("decoder_layer", name, build, call, {"x": (2, 4, 6), "memory": (2, 5, 6)},
           heads=3, hidden=8, norm_first=norm_first, activation=activation)


for first in (False, True):
    where = "pre" if first else "post"
    encoder(f"{where}_relu", first, "relu", False)
    encoder(f"{where}_gelu_causal", first, "gelu", True)
    decoder(f"{where}_relu", first, "relu")
decoder("pre_gelu", True, "gelu")


def rotary(name, shape, interleaved, offset=0):
    """By complex numbers: each pair times exp(i·position·base^(-2j/d))."""
    c = Case("rotary", name, interleaved=interleaved, offset=offset)
    x = c.normal("x", shape)
    d = shape[-1]
    angle = torch.outer(torch.arange(shape[-2]) + offset + 0.0, 10000.0 ** (-torch.arange(0, d, 2) / d))
    turn = torch.polar(torch.ones_like(angle), angle)
    if interleaved:
        z = torch.view_as_complex(x.reshape(*shape[:-1], d // 2, 2)) * turn
        y = torch.view_as_real(z).reshape(shape)
    else:
        z = torch.complex(x[..., : d // 2], x[..., d // 2 :]) * turn
        y = torch.cat([z.real, z.imag], -1)
    c.finish(y, {"x": x})


for interleaved in (False, True):
    how = "neighbours" if interleaved else "halves"
    rotary(how, (2, 3, 5, 8), interleaved)
    rotary(f"{how}_offset", (1, 7, 6), interleaved, 100)

save("attention")
