//! Views, and putting tensors together.

use super::{Answer, Call, Stop};
use gradus::Tensor;

pub fn run(call: &Call) -> Option<Answer> {
    Some(match call.node.op.as_str() {
        "Reshape" => reshape(call),
        "Flatten" => flatten(call),
        "Squeeze" => squeeze(call),
        "Unsqueeze" => unsqueeze(call),
        "Transpose" => transpose(call),
        "Expand" => expand(call),
        "Tile" => tile(call),
        "Pad" => pad(call),
        "Concat" => concat(call),
        "Split" => split(call),
        "Slice" => slice(call),
        "DepthToSpace" => depth_to_space(call),
        "SpaceToDepth" => space_to_depth(call),
        _ => return None,
    })
}

fn whole(at: i64, rank: usize) -> usize {
    if at < 0 { (at + rank as i64) as usize } else { at as usize }
}

fn reshape(call: &Call) -> Answer {
    let x = call.x(0)?;
    let zero = call.flag("allowzero");
    let mut shape: Vec<i64> = call.whole(1);
    for (axis, extent) in shape.iter_mut().enumerate() {
        if *extent == 0 && !zero {
            *extent = x.shape()[axis] as i64;
        }
    }
    let known: i64 = shape.iter().filter(|&&extent| extent >= 0).product();
    let rest = |extent: i64| if extent < 0 { x.count() / known as usize } else { extent as usize };
    Ok(vec![x.reshape(shape.iter().map(|&extent| rest(extent)).collect::<Vec<_>>())?])
}

fn flatten(call: &Call) -> Answer {
    let x = call.x(0)?;
    let axis = whole(call.int("axis", 1), x.rank());
    let rows: usize = x.shape()[..axis].iter().product();
    Ok(vec![x.reshape([rows, x.shape()[axis..].iter().product()])?])
}

fn squeeze(call: &Call) -> Answer {
    let x = call.x(0)?;
    let gone: Vec<usize> = call.whole(1).iter().map(|&axis| whole(axis, x.rank())).collect();
    let kept = (0..x.rank()).filter(|axis| !gone.contains(axis)).map(|axis| x.shape()[axis]);
    Ok(vec![x.reshape(kept.collect::<Vec<_>>())?])
}

fn unsqueeze(call: &Call) -> Answer {
    let x = call.x(0)?;
    let axes = call.whole(1);
    let rank = x.rank() + axes.len();
    let mut axes: Vec<usize> = axes.iter().map(|&axis| whole(axis, rank)).collect();
    axes.sort_unstable();
    Ok(vec![axes.into_iter().try_fold(x, |x, axis| x.unsqueeze(axis))?])
}

fn transpose(call: &Call) -> Answer {
    let x = call.x(0)?;
    let order = call.sizes("perm").unwrap_or_else(|| (0..x.rank()).rev().collect());
    Ok(vec![x.permute(&order)?])
}

fn expand(call: &Call) -> Answer {
    let x = call.x(0)?;
    let wanted: Vec<usize> = call.whole(1).iter().map(|&extent| extent as usize).collect();
    let rank = wanted.len().max(x.rank());
    let padded = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
    let both = padded(&wanted).into_iter().zip(padded(x.shape()));
    Ok(vec![x.broadcast_to(both.map(|(a, b)| a.max(b)).collect::<Vec<_>>())?])
}

fn tile(call: &Call) -> Answer {
    let times: Vec<usize> = call.whole(1).iter().map(|&times| times as usize).collect();
    Ok(vec![call.x(0)?.tile(&times)?])
}

fn pad(call: &Call) -> Answer {
    if call.text("mode", "constant") != "constant" {
        return Err(Stop::Missing("padding by anything but a constant"));
    }
    let x = call.float(0)?;
    let given = call.whole(1);
    let axes = if call.has(3) { call.whole(3) } else { (0..x.rank() as i64).collect() };
    let mut amounts = vec![(0, 0); x.rank()];
    for (i, &axis) in axes.iter().enumerate() {
        amounts[whole(axis, x.rank())] = (given[i] as usize, given[axes.len() + i] as usize);
    }
    Ok(vec![x.pad(&amounts, if call.has(2) { call.stored(2).data[0] } else { 0.0 })?])
}

fn concat(call: &Call) -> Answer {
    let parts = (0..call.node.inputs.len()).map(|index| call.x(index)).collect::<Answer>()?;
    Ok(vec![Tensor::concat(&parts.iter().collect::<Vec<_>>(), call.int("axis", 0) as isize)?])
}

fn split(call: &Call) -> Answer {
    let x = call.x(0)?;
    let axis = call.int("axis", 0) as isize;
    let extent = x.shape()[whole(axis as i64, x.rank())];
    let sizes: Vec<usize> = if call.has(1) {
        call.whole(1).iter().map(|&size| size as usize).collect()
    } else {
        let parts = call.node.outputs.len();
        let each = extent.div_ceil(parts);
        (0..parts).map(|part| each.min(extent - part * each)).collect()
    };
    let mut start = 0;
    let mut parts = vec![];
    for size in sizes {
        parts.push(x.slice(axis, start, start + size)?);
        start += size;
    }
    Ok(parts)
}

fn slice(call: &Call) -> Answer {
    let mut x = call.x(0)?;
    let (starts, ends) = (call.whole(1), call.whole(2));
    let axes = if call.has(3) { call.whole(3) } else { (0..starts.len() as i64).collect() };
    let steps = if call.has(4) { call.whole(4) } else { vec![1; starts.len()] };
    for (((start, end), axis), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
        let axis = whole(axis, x.rank());
        let extent = x.shape()[axis] as i64;
        let from_start = |v: i64| if v < 0 { v + extent } else { v };
        // Backwards from s down to above e is forwards from E − 1 − s to E − 1 − e in the flipped axis.
        let (start, end) = if step < 0 {
            x = x.flip(&[axis as isize])?;
            (extent - 1 - from_start(start).min(extent - 1), extent - 1 - from_start(end).max(-1))
        } else {
            (from_start(start), from_start(end))
        };
        let (start, end) = (start.clamp(0, extent) as usize, end.clamp(0, extent) as usize);
        x = x.slice_step(axis as isize, start, end.max(start), step.unsigned_abs() as usize)?;
    }
    Ok(vec![x])
}

fn depth_to_space(call: &Call) -> Answer {
    let x = call.x(0)?;
    let block = call.int("blocksize", 1) as usize;
    let [n, c, h, w] = <[usize; 4]>::try_from(&x.shape()[..]).unwrap();
    let deep = c / block / block;
    let parts = if call.text("mode", "DCR") == "DCR" {
        x.reshape([n, block, block, deep, h, w])?.permute(&[0, 3, 4, 1, 5, 2])?
    } else {
        x.reshape([n, deep, block, block, h, w])?.permute(&[0, 1, 4, 2, 5, 3])?
    };
    Ok(vec![parts.reshape([n, deep, h * block, w * block])?])
}

fn space_to_depth(call: &Call) -> Answer {
    let x = call.x(0)?;
    let block = call.int("blocksize", 1) as usize;
    let [n, c, h, w] = <[usize; 4]>::try_from(&x.shape()[..]).unwrap();
    let parts = x.reshape([n, c, h / block, block, w / block, block])?.permute(&[0, 3, 5, 1, 2, 4])?;
    Ok(vec![parts.reshape([n, c * block * block, h / block, w / block])?])
}
