//! How a tensor prints: the values as people expect them, long axes shortened in the middle.

use super::Tensor;
use crate::dtype::DType;
use crate::shape::Shape;
use std::fmt;

/// An axis longer than this shows only its ends.
const LONG: usize = 8;
/// How many elements each end shows.
const EDGE: usize = 3;

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = match self.to_f64() {
            Ok(values) => values,
            Err(error) => return write!(f, "<{} on {}: {error}>", self.describe(), self.device()),
        };
        let precision = f.precision().unwrap_or(4);
        let text = |v: f64| match self.dtype() {
            DType::I32 => format!("{v}"),
            _ if v != 0.0 && v.is_finite() && !(1e-3..1e5).contains(&v.abs()) => format!("{v:.precision$e}"),
            _ => format!("{v:.precision$}"),
        };
        let shown = |extent: usize, i: usize| extent <= LONG || i < EDGE || i >= extent - EDGE;
        let width = values
            .iter()
            .enumerate()
            .filter(|(at, _)| {
                let mut rest = *at;
                self.shape().iter().rev().all(|&extent| {
                    let i = rest % extent;
                    rest /= extent;
                    shown(extent, i)
                })
            })
            .map(|(_, &v)| text(v).len())
            .max()
            .unwrap_or(0);
        let cell = |v: f64| format!("{:>width$}", text(v));
        axis(f, &values, self.shape(), 0, &cell)?;
        write!(f, " {} {}", self.shape(), self.dtype())
    }
}

fn axis(
    f: &mut fmt::Formatter<'_>,
    values: &[f64],
    shape: &Shape,
    depth: usize,
    cell: &impl Fn(f64) -> String,
) -> fmt::Result {
    let Some(&extent) = shape.get(depth) else {
        return f.write_str(values.first().map_or(String::new(), |&v| cell(v)).trim());
    };
    let (inner, last) = (shape[depth + 1..].iter().product::<usize>(), depth + 1 == shape.rank());
    let gap = if last { ", ".to_string() } else { format!(",\n{}", " ".repeat(depth + 1)) };
    f.write_str("[")?;
    let mut i = 0;
    while i < extent {
        if i > 0 {
            f.write_str(&gap)?;
        }
        if extent > LONG && i == EDGE {
            f.write_str("…")?;
            i = extent - EDGE;
            continue;
        }
        let part = &values[i * inner..(i + 1) * inner];
        if last {
            f.write_str(&cell(part[0]))?
        } else {
            axis(f, part, shape, depth + 1, cell)?
        }
        i += 1;
    }
    f.write_str("]")
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} on {})", self.describe(), self.device())
    }
}
