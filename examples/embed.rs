//! Gradus in ten lines: a computation and its gradient on the best device there is.

use gradus::{Device, Result, Tensor};

fn main() -> Result<()> {
    let device = Device::auto()?;
    let x = Tensor::from_slice(&device, &[0.5f32, -1.0, 2.0], [3])?.variable()?;
    let y = x.tanh()?.square()?.sum(&[], false)?;
    let gradient = y.backward()?;
    println!("on {device}");
    println!("Σ tanh² x = {y:.6}");
    println!("gradient  = {:.6}", gradient.get(&x)?);
    Ok(())
}
