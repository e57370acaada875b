//! The tangent kernel of random networks of growing width beside its limit, then kernel regression with the limit:
//! the function that an infinitely wide network learns from eight points of a sine.

use gradus::nn::{Mode, Module, Params};
use gradus::ntk::{FullyConnected, KernelRegression, NtkMethod, empirical_ntk};
use gradus::op::counted;
use gradus::{Device, Result, Tensor};

/// Points (cos a, sin a) of the circle.
fn circle(device: &Device, angles: &[f32]) -> Result<Tensor> {
    let points: Vec<f32> = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
    Tensor::from_slice(device, &points, [angles.len(), 2])
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    let limit = FullyConnected::relu(2);
    let angles: Vec<f32> = (0..8).map(|i| 0.785 * i as f32).collect();
    let x = circle(&device, &angles)?;
    let expected = limit.kernels(&x, &x)?.ntk;
    for width in [64, 256, 1024] {
        let params = Params::new(&device, 7);
        let network = limit.network(&params, 2, width, 1)?;
        let model = |x: &Tensor| network.forward(x, Mode::Eval);
        let (kernel, flop) = counted(|| empirical_ntk(&params, model, &x, None, NtkMethod::Layers));
        let apart = kernel?.reshape([8, 8])?.sub(&expected)?.norm(2.0, &[], false)?.item()?;
        let size = expected.norm(2.0, &[], false)?.item()?;
        println!("width {width:4}: {:.3} from the limit ({:.1} MFLOP)", apart / size, flop as f64 / 1e6);
    }
    let targets: Vec<f32> = angles.iter().map(|a| (2.0 * a).sin()).collect();
    let y = Tensor::from_slice(&device, &targets, [8, 1])?;
    let regression = KernelRegression::fit(&expected, &y, 1e-5)?;
    let between = [0.35f32, 1.3, 2.25, 3.3];
    let cross = limit.kernels(&circle(&device, &between)?, &x)?.ntk;
    for (angle, value) in between.iter().zip(regression.predict(&cross)?.to_vec::<f32>()?) {
        println!("sin(2 · {angle:.2}) = {:6.3}, learned {value:6.3}", (2.0 * angle).sin());
    }
    Ok(())
}
