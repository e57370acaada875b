//! What only many elements meet: loops that are longer than llvmpipe's, which it leaves, without a word, after 65 535
//! turns of an invocation (either the work is cut, or there is an error; on other adapters the same numbers come out),
//! and indices beyond those that f32 divides.

mod common;

use gradus::ops::{Attention, Conv2dOptions, Pool2d};
use gradus::{DType, Device, Error, Result, Tensor};

fn ones(device: &Device, shape: &[usize]) -> Tensor {
    Tensor::full(device, DType::F32, shape, 1.0).unwrap()
}

fn zeros(device: &Device, shape: &[usize]) -> Tensor {
    Tensor::full(device, DType::F32, shape, 0.0).unwrap()
}

/// Every element is this, up to what f32 loses.
fn assert_all(name: &str, x: &Tensor, expected: f64) {
    for value in x.to_vec::<f32>().unwrap() {
        assert!(
            (f64::from(value) - expected).abs() <= 1e-4 * expected.abs(),
            "{name}: {value}, not {expected}"
        );
    }
}

fn gradient(y: &Tensor, x: &Tensor) -> Tensor {
    y.pull_back(&y.full_like(1.0).unwrap(), &[x]).unwrap().swap_remove(0)
}

#[test]
fn lines_are_finished() {
    let device = common::gpu();
    let n = 70_001;
    let rising: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let line = Tensor::from_slice(&device, &rising, [1, n]).unwrap();
    assert_eq!(line.argmax(1).unwrap().to_vec::<i32>().unwrap(), [n as i32 - 1]);
    let one = ones(&device, &[1, n]);
    let scan = one.linear_scan(&one, 1, false).unwrap();
    assert_eq!(scan.slice(1, n - 1, n).unwrap().to_vec::<f32>().unwrap(), [n as f32]);
    let place = Tensor::from_slice(&device, &vec![0; n], [n]).unwrap();
    let sum = ones(&device, &[n, 2]).index_add(0, &place, 1).unwrap();
    assert_eq!(sum.to_vec::<f32>().unwrap(), [n as f32; 2]);
    assert_all("softmax", &ones(&device, &[256, n]).softmax(1).unwrap(), 1.0 / n as f64);
}

#[test]
fn normalisations_are_finished() {
    let device = common::gpu();
    let (x, beta) = (ones(&device, &[64, 2, 112, 112]), ones(&device, &[2]).variable().unwrap());
    let y = x.batch_norm(&ones(&device, &[2]), &beta, 1e-5).unwrap().y;
    assert_all("batch norm", &y, 1.0);
    assert_all("its gradient", &gradient(&y, &beta), f64::from(64 * 112 * 112));
}

#[test]
fn gradients_of_kernels_are_finished() {
    let device = common::gpu();
    // By fours, not by fours, each channel by itself, and many images.
    for (n, c, h, groups) in [(1, 4, 520, 1), (1, 3, 519, 1), (1, 2, 300, 2), (30, 4, 200, 1)] {
        let x = ones(&device, &[n, c, h, h]);
        let w = ones(&device, &[4, c / groups, 1, 1]).variable().unwrap();
        let y = x.conv2d(&w, None, Conv2dOptions::default().groups(groups)).unwrap();
        assert_all(&format!("{n} images of {h}"), &gradient(&y, &w), (n * h * h) as f64);
    }
}

#[test]
fn attention_is_finished() {
    let device = common::gpu();
    let q = zeros(&device, &[1, 1, 4, 63]);
    for keys in [2047, 8192] {
        // All scores are zero, so all weights are equal.
        let k = zeros(&device, &[1, 1, keys, 63]);
        let values: Vec<f32> = (0..keys * 63).map(|i| (i / 63) as f32).collect();
        let v = Tensor::from_slice(&device, &values, [1, 1, keys, 63]).unwrap().variable().unwrap();
        let y = q.attention(&k, &v, &Attention::default()).unwrap();
        assert_all(&format!("{keys} keys"), &y, (keys - 1) as f64 / 2.0);
        assert_all("values", &gradient(&y, &v), 4.0 / keys as f64);
        // As many queries of four keys.
        let few = ones(&device, &[1, 1, 4, 63]).variable().unwrap();
        let y = k.attention(&q, &few, &Attention::default()).unwrap();
        assert_all(&format!("{keys} queries"), &gradient(&y, &few), keys as f64 / 4.0);
    }
    // One bias for all pairs, that their weights, equal for all, do not depend on.
    let (q, v) = (zeros(&device, &[4, 2, 32, 64]), ones(&device, &[4, 2, 32, 64]));
    let bias = zeros(&device, &[1, 1, 1, 1]).variable().unwrap();
    let y = q.attention(&q, &v, &Attention { bias: Some(bias.clone()), ..Attention::default() }).unwrap();
    let slope = gradient(&y, &bias).to_vec::<f32>().unwrap()[0];
    assert!(slope.abs() < 1e-2, "{slope}");
}

/// What came out is right, or it is said that it cannot be had.
fn assert_right_or_refused(name: &str, x: Result<Tensor>, expected: f64) {
    match x.and_then(|x| x.to_vec::<f32>()) {
        Ok(values) => {
            for value in values {
                assert!(
                    (f64::from(value) - expected).abs() <= 1e-4 * expected,
                    "{name}: {value}, not {expected}"
                );
            }
        }
        Err(Error::Device { .. }) => {}
        Err(other) => panic!("{name}: {other}"),
    }
}

#[test]
fn what_is_too_long_is_right_or_refused() {
    let device = common::gpu();
    let channels = 70_000;
    let (x, w) = (ones(&device, &[1, channels, 2, 2]), ones(&device, &[4, channels, 1, 1]));
    assert_right_or_refused("channels", x.conv2d(&w, None, Conv2dOptions::default()), channels as f64);
    let image = ones(&device, &[1, 1, 300, 300]);
    assert_right_or_refused("a window", image.avg_pool2d(Pool2d::new([300, 300]), true), 1.0);
    let (q, k) = (zeros(&device, &[1, 1, 4, 64]), ones(&device, &[1, 1, 140_000, 64]));
    assert_right_or_refused("keys", q.attention(&k, &k, &Attention::default()), 1.0);
}

/// Indices of so many elements are divided in f32 up to a power of two, and as integers above.
#[test]
fn transposes_of_millions_of_elements_are_exact() {
    let device = common::gpu();
    for [rows, columns] in [[1021, 2053], [1023, 2051], [3, 699_051]] {
        let count = rows * columns;
        let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
        let x = Tensor::from_slice(&device, &values, [rows, columns]).unwrap();
        let y = x.permute(&[1, 0]).unwrap().contiguous().unwrap().to_vec::<f32>().unwrap();
        let wrong = (0..count).find(|&i| y[i] != values[i % rows * columns + i / rows]);
        assert_eq!(wrong, None, "{rows} × {columns}");
    }
}
