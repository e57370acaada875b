//! A WGSL kernel of one's own as an operation: rule, reference, launch and gradient, held against its bound by
//! the same harness as the engine's own.

use gradus::autodiff::At;
use gradus::gpu::{Dispatch, Gpu, Shader, Source};
use gradus::op::{self, Data, GpuView, Inputs, Meta, Op};
use gradus::real::Real;
use gradus::verify::{Bench, Case, Input, Room, verify};
use gradus::{Array, Device, Error, Result, Tensor};

static PREFIX: Shader = Shader { name: "prefix.wgsl", source: include_str!("prefix.wgsl") };

/// Running sums along the last of two axes.
struct Prefix;

impl Op for Prefix {
    fn name(&self) -> &'static str {
        "prefix"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        if inputs[0].shape.rank() != 2 {
            return Err(Error::Shape {
                op: "prefix",
                given: inputs[0].to_string(),
                remedy: "Give a tensor of rank 2.".into(),
            });
        }
        Ok(vec![inputs[0]])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, _: &[Meta]) -> Vec<Data<R>> {
        let x = inputs.real(0);
        let cols = x.shape[1];
        // From the definition, not from the kernel: each output is a sum of its own.
        vec![Data::Real(Array::from_fn(x.shape, |at| R::sum(x.data[at / cols * cols..=at].iter().copied())))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let [rows, cols] = [0, 1].map(|axis| inputs[0].shape()[axis] as u32);
        gpu.dispatch(Dispatch {
            op: "prefix",
            source: Source::File(&PREFIX, &[]),
            params: bytemuck::cast_slice(&[rows, cols, 0, 0]),
            buffers: &[&inputs[0].buffer, &outputs[0].buffer],
            groups: gpu.fold(rows as usize, 64),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    // The transpose sums from the other end: Σ over c ≥ j of dy = total − prefix + dy.
    fn vjp(&self, _: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None]) };
        Ok(vec![Some(dy.sum(&[1], true)?.sub(&prefix(dy)?)?.add(dy)?)])
    }

    fn jvp(&self, _: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![dx[0].as_ref().map(prefix).transpose()?])
    }
}

fn prefix(x: &Tensor) -> Result<Tensor> {
    Ok(op::apply(Prefix, &[x])?.swap_remove(0))
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    let x = Tensor::from_slice(&device, &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
    println!("{}", prefix(&x)?);

    let cases = vec![
        Case::new("prefix", "65x33 whole", [Input::whole([65, 33])], |x| prefix(&x[0])).exact(),
        Case::new("prefix", "41x47", [Input::any([41, 47])], |x| prefix(&x[0])),
        Case::new("prefix", "rank 3", [Input::any([2, 2, 2])], |x| prefix(&x[0])).fails(),
    ];
    let mut failed = 0;
    for row in verify(&Bench::open("auto")?, &[Room { op: "prefix", cases }], "", |_| {}) {
        println!(
            "{:?}: {} cases, {} failed, worst share of the bound {:.4}",
            row.direction, row.cases, row.failed, row.worst_share
        );
        failed += row.failed;
    }
    assert_eq!(failed, 0);
    Ok(())
}
