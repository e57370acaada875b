//! Choosing, scattering, sorting, scanning, arranging and summing up as calls of gradus.

use super::calls::Call;
use gradus::Tensor;
use gradus::ops::{Scan, Scatter};

/// What computes an operation of the area `index`.
pub fn call(op: &str) -> Option<Call> {
    let call: Call = match op {
        "gather" => |case, t| t["x"].gather(case.signed("axis") as isize, &t["idx"]),
        "take" => |case, t| t["x"].take(case.signed("axis") as isize, &t["idx"]),
        "scatter" | "scatter_reduce" => |case, t| {
            let mode = match case.options["mode"].as_str() {
                Some("sum") => Scatter::Add,
                Some("mean") => Scatter::Mean,
                Some("amax") => Scatter::Max,
                Some("amin") => Scatter::Min,
                Some("prod") => Scatter::Mul,
                _ => Scatter::Replace,
            };
            t["x"].scatter(case.signed("axis") as isize, &t["idx"], &t["w"], mode)
        },
        "one_hot" => {
            |case, t| t["idx"].one_hot(case.whole("classes"), t["x"].dtype())?.mul(&t["x"].unsqueeze(2)?)
        }
        "sort" => |case, t| Ok(t["x"].sort(case.signed("axis") as isize, case.flag("falling"))?.0),
        "argsort" => |case, t| t["x"].argsort(case.signed("axis") as isize, case.flag("falling")),
        "topk" => |case, t| {
            let axis = case.signed("axis") as isize;
            Ok(t["x"].topk(case.whole("k"), axis, case.flag("largest"))?.0)
        },
        "cumsum" => |case, t| t["x"].cumsum(case.signed("axis") as isize, Scan::default()),
        "cumprod" => |case, t| t["x"].cumprod(case.signed("axis") as isize, Scan::default()),
        "tril" => |case, t| t["x"].tril(case.signed("diagonal")),
        "triu" => |case, t| t["x"].triu(case.signed("diagonal")),
        "tile" => |case, t| t["x"].tile(&case.list("times")),
        "repeat_interleave" => {
            |case, t| t["x"].repeat_interleave(case.whole("times"), case.signed("axis") as isize)
        }
        "flip" => |case, t| t["x"].flip(&case.axes("axes")),
        "roll" => |case, t| t["x"].roll(case.signed("shift"), case.signed("axis") as isize),
        "einsum" => |case, t| {
            // Operands are called u, v and x, in this order, as far as there are any.
            let operands: Vec<&Tensor> = t.values().collect();
            Tensor::einsum(case.options["equation"].as_str().unwrap(), &operands)
        },
        "norm" => |case, t| {
            let p = case.number("p");
            let p = if p < 0.0 { f64::INFINITY } else { p };
            t["x"].norm(p, &case.axes("axes"), case.flag("keepdim"))
        },
        "prod" => |case, t| t["x"].prod(&case.axes("axes"), case.flag("keepdim")),
        "amin" => |case, t| t["x"].min(&case.axes("axes"), case.flag("keepdim")),
        "argmin" => |case, t| t["x"].argmin(case.signed("axis") as isize),
        "var" => |case, t| t["x"].var(&case.axes("axes"), case.whole("correction"), case.flag("keepdim")),
        "std" => |case, t| t["x"].std(&case.axes("axes"), case.whole("correction"), case.flag("keepdim")),
        "logsumexp" => |case, t| t["x"].logsumexp(&case.axes("axes"), case.flag("keepdim")),
        _ => return None,
    };
    Some(call)
}
