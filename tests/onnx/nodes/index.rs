//! Gathering, scattering, ordering, running sums.

use super::{Answer, Call};
use gradus::ops::{Scan, Scatter};
use gradus::{Result, Tensor};

pub fn run(call: &Call) -> Option<Answer> {
    Some(match call.node.op.as_str() {
        "Gather" => gather(call, |x, axis, at| x.take(axis, at)),
        "GatherElements" => gather(call, |x, axis, at| x.gather(axis, at)),
        "GatherND" => gather_nd(call),
        "ScatterElements" => scatter_elements(call),
        "ScatterND" => scatter_nd(call),
        "OneHot" => one_hot(call),
        "TopK" => topk(call),
        "Trilu" => trilu(call),
        "CumSum" => scan(call, |x, axis, scan| x.cumsum(axis, scan)),
        "CumProd" => scan(call, |x, axis, scan| x.cumprod(axis, scan)),
        _ => return None,
    })
}

/// Input `index` holds indices; negative ones count from the end of an axis of that extent.
fn from_the_start(call: &Call, index: usize, extent: impl Fn(usize) -> usize) -> Answer<Tensor> {
    let stored = call.stored(index);
    let tuple = stored.shape.last().copied().unwrap_or(1);
    let positive = |(i, v): (usize, i64)| if v < 0 { v + extent(i % tuple) as i64 } else { v } as i32;
    let data: Vec<i32> = call.whole(index).into_iter().enumerate().map(positive).collect();
    call.index(&data, &stored.shape)
}

fn axis(call: &Call, x: &Tensor) -> usize {
    let axis = call.int("axis", 0);
    (if axis < 0 { axis + x.rank() as i64 } else { axis }) as usize
}

fn gather(call: &Call, f: fn(&Tensor, isize, &Tensor) -> Result<Tensor>) -> Answer {
    let x = call.x(0)?;
    let axis = axis(call, &x);
    let at = from_the_start(call, 1, |_| x.shape()[axis])?;
    Ok(vec![f(&x, axis as isize, &at)?])
}

fn gather_nd(call: &Call) -> Answer {
    let x = call.x(0)?;
    let batch = call.int("batch_dims", 0) as usize;
    let at = from_the_start(call, 1, |i| x.shape()[batch + i])?;
    Ok(vec![x.gather_nd(&at, batch)?])
}

fn mode(call: &Call) -> Scatter {
    match call.text("reduction", "none") {
        "add" => Scatter::Add,
        "mul" => Scatter::Mul,
        "max" => Scatter::Max,
        "min" => Scatter::Min,
        _ => Scatter::Replace,
    }
}

fn scatter_elements(call: &Call) -> Answer {
    let x = call.x(0)?;
    let axis = axis(call, &x);
    let at = from_the_start(call, 1, |_| x.shape()[axis])?;
    Ok(vec![x.scatter(axis as isize, &at, &call.x(2)?, mode(call))?])
}

fn scatter_nd(call: &Call) -> Answer {
    let x = call.x(0)?;
    let at = from_the_start(call, 1, |i| x.shape()[i])?;
    Ok(vec![x.scatter_nd(&at, &call.x(2)?, mode(call))?])
}

/// Labels outside the classes get no one at all.
fn one_hot(call: &Call) -> Answer {
    let classes = call.stored(1).data[0] as usize;
    let values = call.stored(2);
    let (off, on) = (values.data[0], values.data[1]);
    let stored = call.stored(0);
    let range = -(classes as f64)..classes as f64;
    let label = |&v: &f64| match v {
        v if !range.contains(&v) => classes as i32,
        v if v < 0.0 => (v + classes as f64) as i32,
        v => v as i32,
    };
    let labels = call.index(&stored.data.iter().map(label).collect::<Vec<_>>(), &stored.shape)?;
    let one = call.full(&[1], 1.0)?;
    let coded = labels.one_hot(classes + 1, one.dtype())?.slice(-1, 0, classes)?;
    let rank = coded.rank();
    let to = match call.int("axis", -1) {
        axis if axis < 0 => (axis + rank as i64) as usize,
        axis => axis as usize,
    };
    let mut order: Vec<usize> = (0..rank - 1).collect();
    order.insert(to, rank - 1);
    let coded = coded.permute(&order)?;
    Ok(vec![coded.mul_scalar(on - off)?.add_scalar(off)?])
}

fn topk(call: &Call) -> Answer {
    let x = call.x(0)?;
    let k = call.whole(1)[0] as usize;
    let (values, at) = x.topk(k, call.int("axis", -1) as isize, call.int("largest", 1) != 0)?;
    Ok(vec![values, at])
}

fn trilu(call: &Call) -> Answer {
    let diagonal = if call.has(1) { call.whole(1)[0] } else { 0 };
    let x = call.float(0)?;
    Ok(vec![if call.int("upper", 1) != 0 { x.triu(diagonal)? } else { x.tril(diagonal)? }])
}

fn scan(call: &Call, f: fn(&Tensor, isize, Scan) -> Result<Tensor>) -> Answer {
    let scan = Scan { exclusive: call.flag("exclusive"), reverse: call.flag("reverse") };
    Ok(vec![f(&call.float(0)?, call.whole(1)[0] as isize, scan)?])
}
