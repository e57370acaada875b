//! Attention and rotary positions.

use super::{Answer, Call, Stop};
use gradus::ops::{Attention, Pairs};
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
        let (mask, float) = (call.x(3)?, call.stored(3).is_float());
        let mut missing = vec![(0, 0); mask.rank()];
        missing[mask.rank() - 1].1 = k.shape()[2] - mask.shape()[mask.rank() - 1];
        let mask = mask.pad(&missing, if float { f64::from(f32::MIN) } else { 0.0 })?;
        if float { options.bias = Some(mask) } else { options.mask = Some(mask) }
    }
    let mut y = q.attention(&k, &v, &options)?;
    if flat {
        let [batch, heads, time, width] = [y.shape()[0], y.shape()[1], y.shape()[2], y.shape()[3]];
        y = y.transpose(1, 2)?.reshape([batch, time, heads * width])?;
    }
    Ok(vec![y, k, v])
}

fn rotary(call: &Call) -> Answer {
    let x = call.float(0)?;
    let turned = heads(&x, call.int("num_heads", 1).max(1) as usize)?;
    // A row of the table for each position, for all heads.
    let table = |index: usize| -> Answer<Tensor> {
        let table = call.float(index)?;
        let rows = if call.has(3) { table.take(0, &call.x(3)?)? } else { table };
        Ok(rows.unsqueeze(1)?)
    };
    let pairs = if call.flag("interleaved") { Pairs::Neighbours } else { Pairs::Halves };
    let y = turned.rotary_by(&table(1)?, &table(2)?, pairs)?;
    Ok(vec![if x.rank() == 3 { y.transpose(1, 2)?.reshape(x.shape())? } else { y }])
}
