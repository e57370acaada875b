//! Matmul and convolution on the default device, forward: medians by criterion, the result checked before
//! anything is timed. Names are addresses: operation/shape. Run with `cargo bench`; a filter picks rows.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gradus::ops::{Cell, Conv2dOptions, RecurrentWeights, Sequence, Stream};
use gradus::{Device, Result, Tensor};
use std::time::Duration;

/// The first element against the same call on the CPU reference.
fn check(run: impl Fn(&Tensor, &Tensor) -> Result<Tensor>, a: &Tensor, b: &Tensor) {
    let cpu = Device::cpu();
    let expected =
        run(&a.to_device(&cpu).unwrap(), &b.to_device(&cpu).unwrap()).unwrap().to_vec::<f32>().unwrap();
    let found = run(a, b).unwrap().to_vec::<f32>().unwrap();
    let worst = expected.iter().zip(&found).map(|(e, f)| (e - f).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-2 && expected.iter().any(|e| e.abs() > 1.0), "largest error {worst}");
}

fn time(
    c: &mut Criterion,
    name: &str,
    flop: u64,
    (a, b): (&Tensor, &Tensor),
    run: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) {
    check(&run, a, b);
    let mut group = c.benchmark_group("forward");
    group.throughput(Throughput::Elements(flop)).sample_size(10);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.bench_function(name, |bench| {
        bench.iter(|| {
            let y = run(a, b).unwrap();
            a.device().wait().unwrap();
            y
        });
    });
    group.finish();
}

fn kernels(c: &mut Criterion) {
    let device = Device::auto().unwrap();
    println!("device: {device}");
    let normal =
        |shape: &[usize], stream| Tensor::normal(&device, shape, Stream { seed: 0, stream }).unwrap();
    for n in [256usize, 512, 1024] {
        let (a, b) = (normal(&[n, n], 1), normal(&[n, n], 2));
        time(c, &format!("matmul/{n}"), 2 * (n as u64).pow(3), (&a, &b), |a, b| a.matmul(b));
    }
    for [n, ch, h, o, k, s] in
        [[1, 64, 56, 64, 3, 1], [32, 16, 28, 32, 3, 1], [8, 3, 64, 32, 3, 2], [1, 256, 14, 256, 1, 1]]
    {
        let (x, w) = (normal(&[n, ch, h, h], 3), normal(&[o, ch, k, k], 4));
        let options = Conv2dOptions::default().stride([s, s]).padding([k / 2, k / 2]);
        let side = (h + 2 * (k / 2) - k) / s + 1;
        let flop = 2 * (n * o * side * side * ch * k * k) as u64;
        let name = format!("conv2d/n{n}c{ch}h{h}o{o}k{k}s{s}");
        time(c, &name, flop, (&x, &w), |x, w| x.conv2d(w, None, options));
    }
    for (cell, name) in [(Cell::Lstm, "lstm"), (Cell::Gru, "gru")] {
        let [t, b, i, h] = [32, 16, 64, 128];
        let rows = cell.gates() * h;
        let w = normal(&[rows, i + h], 6).mul_scalar(0.1).unwrap();
        let (x, flop) = (normal(&[t, b, i], 5), 2 * (t * b * rows * (i + h)) as u64);
        let run = |x: &Tensor, w: &Tensor| {
            let (input, hidden) = (w.slice(1, 0, i)?, w.slice(1, i, i + h)?);
            let weights = RecurrentWeights { input, hidden, bias: None };
            // Scaled, so that the check sees numbers above one.
            x.recurrent(cell, &weights, &Sequence::default())?.y.mul_scalar(4.0)
        };
        time(c, &format!("{name}/t{t}b{b}i{i}h{h}"), flop, (&x, &w), run);
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
