//! Random calls with random shapes and arguments: whatever they are, a result or a typed error, on both
//! devices the same, and never a panic.

mod common;

use gradus::ops::{Conv2dOptions, Pool2d, Resize, Scan, Scatter};
use gradus::{Device, Result, Tensor};
use proptest::prelude::*;
use std::sync::LazyLock;

static GPU: LazyLock<Device> = LazyLock::new(common::gpu);

fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![4 => 1usize..5, 1 => Just(0usize)], 0..5)
}

/// One of many calls, chosen by `which`, with arguments from `n`.
fn call(which: u8, a: &Tensor, b: &Tensor, n: [isize; 4]) -> Result<Tensor> {
    let small = |i: usize| n[i].unsigned_abs() % 4;
    let [p, q, r, s] = [small(0), small(1), small(2), small(3)];
    match which {
        0 => a.add(b),
        1 => a.matmul(b),
        2 => a.sum(&n[..p], n[3] > 0),
        3 => a.max(&n[..p], n[3] > 0),
        4 => a.mean(&[n[0]], false),
        5 => a.softmax(n[0]),
        6 => a.log_softmax(n[0]),
        7 => a.reshape([p, q, r]),
        8 => a.permute(&[p, q, r, s][..a.rank().min(4)]),
        9 => a.transpose(n[0], n[1]),
        10 => a.slice_step(n[0], p, q, r),
        11 => a.broadcast_to([p, q, r, s]),
        12 => Tensor::concat(&[a, b], n[0]),
        13 => a.pad(&[(p, q), (r, s)], 1.5),
        14 => a.slice_assign(&[p, q][..a.rank().min(2)], b),
        15 => {
            let options = Conv2dOptions::default().stride([p, q]).padding([r, s]).groups(small(2));
            a.conv2d(b, None, options)
        }
        16 => a.max_pool2d(Pool2d::new([p, q]).stride([r, s]).padding([small(1), small(0)])),
        17 => a.avg_pool2d(Pool2d::new([p, q]).padding([r, s]), n[0] > 0),
        18 => a.argmax(n[0]),
        19 => a.squeeze(n[0]),
        20 => a.unsqueeze(p),
        21 => Ok(a.batch_norm(b, b, 1e-3)?.y),
        22 => a.where_(b, a),
        23 => a.cross_entropy(&Tensor::from_slice(a.device(), &[p as i32, q as i32], [2])?),
        24 => a.embedding(&Tensor::from_slice(a.device(), &[p as i32, q as i32, r as i32], [3])?),
        25 => a.index_select(n[0], &Tensor::from_slice(a.device(), &[s as i32], [1])?),
        26 => a.flatten(n[0]),
        27 => a.select(n[0], p),
        28 => a.sort(n[0], n[1] > 0).map(|(y, _)| y),
        29 => a.cumsum(n[0], Scan { exclusive: n[1] > 0, reverse: n[2] > 0 }),
        30 => a.prod(&n[..p], n[3] > 0),
        31 => a.roll(n[1] as i64, n[0]),
        32 => a.conv_transpose2d(b, None, Conv2dOptions::default().stride([p, q]).groups(small(2)), [0, s]),
        33 => a.resize(&[p, q], Resize::LINEAR),
        34 => a.unfold([p, q], Conv2dOptions::default().padding([r, s])),
        35 => {
            let places = Tensor::from_slice(a.device(), &[p as i32, q as i32], [2])?;
            a.scatter(n[0], &places, &b.slice(0, 0, 2)?, Scatter::Max)
        }
        _ => a.exp()?.div(b),
    }
}

fn values(shape: &[usize], scale: f32) -> Vec<f32> {
    (0..shape.iter().product()).map(|i| ((i * 37 % 17) as f32 - 8.0) * scale).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_call_gives_a_result_or_a_typed_error(
        which in 0u8..37,
        left in shape(),
        right in shape(),
        n in prop::array::uniform4(-5isize..6),
    ) {
        let run = |device: &Device| -> Result<(Vec<usize>, Vec<f64>)> {
            let a = Tensor::from_slice(device, &values(&left, 0.25), &left)?.variable()?;
            let b = Tensor::from_slice(device, &values(&right, 0.125), &right)?.variable()?;
            let y = call(which, &a, &b, n)?;
            if y.is_tracked() {
                // Backward as well: what has a value has a gradient, or says why not.
                let _ = y.sum(&[], false)?.backward()?;
            }
            Ok((y.shape().to_vec(), y.to_f64()?))
        };
        match (run(&Device::cpu()), run(&GPU)) {
            (Ok(cpu), Ok(gpu)) => {
                prop_assert_eq!(cpu.0, gpu.0);
                for (c, g) in cpu.1.iter().zip(&gpu.1) {
                    let close = (c - g).abs() <= 1e-4 * (1.0 + c.abs());
                    prop_assert!(close || !c.is_finite(), "{} on the CPU, {} on the GPU", c, g);
                }
            }
            (Err(cpu), Err(gpu)) => {
                prop_assert_eq!(std::mem::discriminant(&cpu), std::mem::discriminant(&gpu), "{} / {}", cpu, gpu);
            }
            (cpu, gpu) => prop_assert!(false, "CPU {:?}, GPU {:?}", cpu, gpu),
        }
    }
}
