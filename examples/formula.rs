//! A pointwise function of one's own: written once, it is a WGSL kernel, its own derivatives, and a bound.

use gradus::verify::{Bench, Case, Input, Room, verify};
use gradus::{Device, Formula, Result, Tensor, autodiff};

/// The Gaussian error of a ring: exp(−(x² + y² − 1)²).
fn ring(x: Formula, y: Formula) -> Formula {
    let off = x.square() + y.square() - 1.0;
    (-off.square()).exp()
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    let x = Tensor::from_slice(&device, &[0.0f32, 0.5, 1.0, 1.5], [4, 1])?;
    let y = Tensor::from_slice(&device, &[0.0f32, 0.5, 1.0], [3])?;
    println!("{}", Tensor::map([&x, &y], |[x, y]| ring(x, y))?);

    // Its Hessian along a direction, without a line of calculus.
    let energy = |t: &[Tensor]| Tensor::map([&t[0], &t[1]], |[x, y]| ring(x, y))?.sum(&[], false);
    let hv = autodiff::hvp(energy, &[&x, &y], &[&x.full_like(1.0)?, &y.full_like(0.0)?])?;
    println!("Hessian times e_x: {}", hv[0].flatten(0)?);

    // And how far this device may stray from the truth, and does.
    let case = Case::new("ring", "7x41", [Input::any([7, 1]), Input::any([41])], |t| {
        Tensor::map([&t[0], &t[1]], |[x, y]| ring(x, y))
    });
    let rows = verify(&Bench::open("auto")?, &[Room { op: "ring", cases: vec![case] }], "", |_| {});
    for row in &rows {
        println!(
            "{:?}: {} failed, worst share of the bound {:.4}",
            row.direction, row.failed, row.worst_share
        );
    }
    Ok(())
}
