//! One layer of ReLUs as a spline: prescribes the weights that interpolate a function, and watches the error fall
//! like 1/N². Then two units a layer, applied again and again, draw a sawtooth with 2^k teeth.

use gradus::{Device, Result, Tensor};
use std::f32::consts::TAU;

const POINTS: usize = 4096;

/// f(0) + Σ (s_k − s_{k−1})·relu(x − k/N), s_k being the slope of f over cell k.
fn spline(f: fn(f32) -> f32, cells: usize, x: &Tensor) -> Result<Tensor> {
    let n = cells as f32;
    let knots: Vec<f32> = (0..cells).map(|k| k as f32 / n).collect();
    let slopes: Vec<f32> = knots.iter().map(|&k| (f(k + 1.0 / n) - f(k)) * n).collect();
    let jumps: Vec<f32> = (0..cells).map(|k| slopes[k] - if k > 0 { slopes[k - 1] } else { 0.0 }).collect();
    let hidden = x.sub(&Tensor::from_slice(x.device(), &knots, [1, cells])?)?.relu()?;
    hidden.matmul(&Tensor::from_slice(x.device(), &jumps, [cells, 1])?)?.add_scalar(f64::from(f(0.0)))
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    let points: Vec<f32> = (0..POINTS).map(|i| (i as f32 + 0.5) / POINTS as f32).collect();
    let x = Tensor::from_slice(&device, &points, [POINTS, 1])?;
    let f = |x: f32| (TAU * x).sin();
    for cells in [8, 16, 32, 64] {
        let y = spline(f, cells, &x)?.to_vec::<f32>()?;
        let error = y.iter().zip(&points).map(|(y, x)| (y - f(*x)).abs()).fold(0.0, f32::max);
        println!(
            "{cells:3} units: sup error {error:.5}, times N² {:.3} (limit 4.935)",
            error * (cells * cells) as f32
        );
    }
    // A grid with the kinks on it, so that between two points there is one slope.
    let grid: Vec<f32> = (0..=POINTS).map(|i| i as f32 / POINTS as f32).collect();
    let mut tent = Tensor::from_slice(&device, &grid, [POINTS + 1])?;
    for k in 1..=6 {
        let fold = tent.add_scalar(-0.5)?.relu()?.mul_scalar(4.0)?;
        tent = tent.relu()?.mul_scalar(2.0)?.sub(&fold)?;
        let rises = tent.slice(0, 1, POINTS + 1)?.sub(&tent.slice(0, 0, POINTS)?)?.sign()?;
        let turns = rises.slice(0, 1, POINTS)?.mul(&rises.slice(0, 0, POINTS - 1)?)?;
        let pieces = 1.0 + turns.less(&turns.full_like(0.0)?)?.sum(&[], false)?.item()?;
        println!("{:2} units in {k} layers: {pieces} pieces", 2 * k);
    }
    Ok(())
}
