use gradus::*;
use std::time::Instant;
fn main() -> Result<()> {
    let gpu = Device::auto()?;
    println!("{gpu}");
    let cpu = Device::cpu();
    let a: Vec<f32> = (0..37*29).map(|i| ((i*7919)%101) as f32 / 50.0 - 1.0).collect();
    let b: Vec<f32> = (0..29*45).map(|i| ((i*104729)%97) as f32 / 50.0 - 1.0).collect();
    let mut out = vec![];
    for d in [&gpu, &cpu] {
        let x = Tensor::from_slice(d, &a, [37, 29])?.variable()?;
        let w = Tensor::from_slice(d, &b, [29, 45])?.variable()?;
        let y = x.matmul(&w)?.tanh()?.add_scalar(0.5)?.gelu()?;
        let l = y.sum(&[], false)?;
        let g = l.backward()?;
        println!("{} {}", l.item()?, g.get(&x)?);
        out.push(g.get(&w)?.to_vec::<f32>()?);
        let h = autodiff::hvp(|x| x[0].square()?.mul(&x[0])?.sum(&[], false), &[&x], &[&x.full_like(1.0)?])?;
        println!("{:.3}", h[0]);
    }
    println!("diff {}", out[0].iter().zip(&out[1]).map(|(a,b)| (a-b).abs()).fold(0.0, f32::max));
    for n in [256, 512, 1024usize] {
        let v: Vec<f32> = (0..n*n).map(|i| ((i*7919)%101) as f32 / 50.0 - 1.0).collect();
        let a = Tensor::from_slice(&gpu, &v, [n, n])?;
        let b = Tensor::from_slice(&gpu, &v, [n, n])?;
        let t = Instant::now();
        let _ = a.matmul(&b)?; gpu.wait()?;
        let first = t.elapsed();
        let mut best = f64::MAX;
        for _ in 0..5 { let t = Instant::now(); let _y = a.matmul(&b)?; gpu.wait()?; best = best.min(t.elapsed().as_secs_f64()); }
        println!("{n}: first {first:?} {:.2} ms {:.1} GF", best*1e3, 2.0*(n as f64).powi(3)/best/1e9);
    }
    Ok(())
}
