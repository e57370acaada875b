//! Attention, forward and backward, takes memory in proportion to the number of queries and keys.

mod common;

use gradus::ops::{Attention, Stream};
use gradus::{Device, Tensor};

/// Bytes that the pool of a fresh device holds after the gradient of one attention over `t` positions.
fn bytes(t: usize) -> u64 {
    let device: Device = common::gpu();
    let make =
        |stream| Tensor::normal(&device, [1, 1, t, 8], Stream::new(1, stream)).unwrap().variable().unwrap();
    let [q, k, v] = [make(0), make(1), make(2)];
    let options = Attention { causal: true, ..Attention::default() };
    let loss = q.attention(&k, &v, &options).unwrap().square().unwrap().sum(&[], false).unwrap();
    let gradients = loss.backward().unwrap();
    for x in [&q, &k, &v] {
        let norm = gradients.get(x).unwrap().square().unwrap().sum(&[], false).unwrap().item().unwrap();
        assert!(norm.is_finite() && norm > 0.0);
    }
    let pool = device.as_gpu().unwrap().pool_stats();
    // Buffers stay in the pool, so what it holds now is the most it ever held.
    pool.live + pool.idle
}

#[test]
fn the_memory_of_attention_grows_linearly() {
    let sizes = [512, 1024, 2048, 4096];
    let held = sizes.map(bytes);
    println!("positions {sizes:?}, bytes {held:?}");
    for (t, pair) in sizes.iter().zip(held.windows(2)) {
        // Twice the positions, at most twice the bytes and a quarter, which the pool may round up by.
        assert!(4 * pair[1] <= 9 * pair[0], "{pair:?} from {t} to {} positions", 2 * t);
    }
    // One matrix of 4096 by 4096 weights would be 64 MiB.
    assert!(held[3] < 4096 * 1024, "{} bytes at 4096 positions", held[3]);
}
