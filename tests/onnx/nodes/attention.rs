//! Attention and rotary positions.

use super::{Answer, Call, Stop};
use gradus::ops::Attention;
use gradus::{Result, Tensor};

pub fn run(call: &Call) -> Option<Answer> {
    Some(match call.node.op.as_str() {
        "Attention" => attention(call),
        "RotaryEmbedding" => rotary(call),
        _ => return None,
    })
}

/// `[B, T, heads·D]` as `[B, heads, T, D]`; rank 4 is that already.
fn heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    if x.rank() == 4 {
        return Ok(x.clone());
    }
    let [batch, time, width] = [x.shape()[0], x.shape()[1], x.shape()[2]];
    x.reshape([batch, time, heads, width / heads])?.transpose(1, 2)
}

fn attention(call: &Call) -> Answer {
    if call.node.outputs.get(3).is_some_and(Option::is_some) {
        return Err(Stop::Missing("the scores, which a fused kernel never has in memory"));
    }
    let flat = call.stored(0).shape.len() == 3;
    let (queries, shared) = (call.int("q_num_heads", 1) as usize, call.int("kv_num_heads", 1) as usize);
    let q = heads(&call.float(0)?, queries)?;
    let (mut k, mut v) = (heads(&call.float(1)?, shared)?, heads(&call.float(2)?, shared)?);
    let mut past = 0;
    if call.has(4) {
        past = call.stored(4).shape[2];
        k = Tensor::concat(&[&call.float(4)?, &k], 2)?;
        v = Tensor::concat(&[&call.float(5)?, &v], 2)?;
    }
    let mut options = Attention {
        scale: call.attribute("scale").map(|scale| scale.as_f64().unwrap()),
        causal: call.flag("is_causal"),
        offset: past,
        softcap: call.attribute("softcap").map(|cap| cap.as_f64().unwrap()).filter(|&cap| cap > 0.0),
        ..Attention::default()
    };
    if call.has(6) {
        let keys = k.shape()[2];
        let open = |&length: &i64| (0..keys as i64).map(move |key| i32::from(key < length));
        let mask: Vec<i32> = call.whole(6).iter().flat_map(open).collect();
        options.mask = Some(call.index(&mask, &[mask.len() / keys, 1, 1, keys])?);
    }
    if call.has(3) {
        // Keys beyond the end of the mask do not count.
        let stored = call.stored(3);
        let short = k.shape()[2] - stored.shape[stored.shape.len() - 1];
        if short > 0 {
            return Err(Stop::Missing("masks shorter than the keys"));
        }
        let mask = call.x(3)?;
        if stored.is_float() { options.bias = Some(mask) } else { options.mask = Some(mask) }
    }
    let mut y = q.attention(&k, &v, &options)?;
    if flat {
        let [batch, heads, time, width] = [y.shape()[0], y.shape()[1], y.shape()[2], y.shape()[3]];
        y = y.transpose(1, 2)?.reshape([batch, time, heads * width])?;
    }
    Ok(vec![y, k, v])
}

/// ONNX gives tables of cosines and sines, where gradus computes the angles: the turn alone is composed here.
fn rotary(_: &Call) -> Answer {
    Err(Stop::Missing("tables of cosines in the place of angles"))
}
