use super::normal::{UNIT, fixed, table, tail_quantile};
use super::*;

const STREAM: Stream = Stream::new(7, 1 << 40);

/// Φ(z).
fn distribution(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

#[test]
fn normal_numbers_are_within_two_millionths_of_the_inverse_distribution() {
    // Dense in every octave, and its ends.
    let inside = (0..31)
        .flat_map(|bits: u32| (0..4096u32).map(move |k| (1 << bits) + ((k as u64) << bits >> 12) as u32));
    let scattered = (0..100_000u32).map(|k| k.wrapping_mul(0x9e37_79b9) >> 1);
    let mut worst = (0.0, 0);
    for m in inside.chain(scattered).chain([0, 0x7fff_ffff]).flat_map(|m| [m, m ^ 0xfff, m ^ 0x7ff]) {
        let m = m & 0x7fff_ffff;
        let truth = tail_quantile((f64::from(m) + 0.5) / 2f64.powi(32));
        let miss = (f64::from(fixed(m)) * UNIT - truth).abs();
        if miss > worst.0 {
            worst = (miss, m);
        }
    }
    println!("largest error of a normal number: {:.2e} at m = {:#x}", worst.0, worst.1);
    assert!(worst.0 < 2e-6, "{worst:?}");
}

#[test]
fn normal_numbers_are_symmetric_bounded_and_finite() {
    assert_eq!(fixed(0), -fixed(1 << 31));
    assert!(fixed(0) < 1 << 24 && f64::from(fixed(0)) * UNIT < 6.34);
    for m in [1, 2, 77, 0x1234_5678, 0x7fff_ffff] {
        assert_eq!(fixed(m), -fixed(m | 1 << 31));
        assert!(fixed(m) >= 0);
    }
}

#[test]
fn products_of_the_normal_table_fit_into_31_bits() {
    for &[c0, c1, c2, _] in table() {
        for t in [0i64, 1, 9999, 0x4000, 0x7fff] {
            let inner = i64::from(c2) * t + 0x4000;
            let outer = (i64::from(c1) + (inner >> 15)) * t + 0x4000;
            assert!(inner.abs() < 1 << 31 && outer.abs() < 1 << 31, "{c0} {c1} {c2} at {t}");
            assert!((i64::from(c0) + (outer >> 15)).abs() < 1 << 24);
        }
    }
}

/// The share of the numbers below each, against what it should be, times √n: Kolmogorov's statistic.
fn kolmogorov(mut numbers: Vec<f64>, distribution: impl Fn(f64) -> f64) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let n = numbers.len() as f64;
    let gap = |(i, &z): (usize, &f64)| {
        let p = distribution(z);
        (p - i as f64 / n).abs().max((p - (i + 1) as f64 / n).abs())
    };
    numbers.iter().enumerate().map(gap).fold(0.0, f64::max) * n.sqrt()
}

/// Above this once in a thousand samples.
const KOLMOGOROV: f64 = 1.95;

#[test]
fn a_million_normal_numbers_have_the_moments_and_the_distribution_of_normal_numbers() {
    let n = 1_000_000;
    let z = Tensor::normal(&Device::cpu(), [n], STREAM).unwrap().to_f64().unwrap();
    let moment = |k: i32| z.iter().map(|v| v.powi(k)).sum::<f64>() / n as f64;
    // E z^k, and its variance E z^2k − (E z^k)².
    for (k, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        let error = (moment(k) - expected) / (variance / n as f64).sqrt();
        assert!(error.abs() < 4.0, "moment {k}: {} is {error} standard errors off", moment(k));
    }
    let statistic = kolmogorov(z, distribution);
    assert!(statistic < KOLMOGOROV, "{statistic}");
}

#[test]
fn a_million_uniform_numbers_are_uniform() {
    let n = 1_000_000;
    let u = Tensor::uniform(&Device::cpu(), [n], STREAM).unwrap().to_f64().unwrap();
    assert!(u.iter().all(|u| (0.0..1.0).contains(u)));
    let mean = u.iter().sum::<f64>() / n as f64;
    assert!((mean - 0.5).abs() < 4.0 / (12.0 * n as f64).sqrt(), "{mean}");
    let neighbours = u.windows(2).map(|w| (w[0] - 0.5) * (w[1] - 0.5)).sum::<f64>() / n as f64 * 12.0;
    assert!(neighbours.abs() < 4.0 / (n as f64).sqrt(), "{neighbours}");
    let statistic = kolmogorov(u, |u| u);
    assert!(statistic < KOLMOGOROV, "{statistic}");
}

#[test]
fn bernoulli_numbers_are_ones_as_often_as_asked() {
    let n = 100_000;
    for p in [0.0, 0.1, 0.5, 1.0] {
        let ones = Tensor::bernoulli(&Device::cpu(), [n], p, STREAM).unwrap();
        let share = ones.mean(&[], false).unwrap().item().unwrap();
        assert!((share - p).abs() <= 4.0 * (p * (1.0 - p) / n as f64).sqrt(), "{share} for {p}");
    }
}

#[test]
fn streams_seeds_and_kinds_differ_and_prefixes_agree() {
    let cpu = Device::cpu();
    let make = |seed, stream, n: usize| {
        Tensor::uniform(&cpu, [n], Stream { seed, stream }).unwrap().to_vec::<f32>().unwrap()
    };
    let base = make(1, 2, 64);
    for (seed, stream) in [(2, 2), (1, 3), (1 | 1 << 32, 2), (1, 2 | 1 << 32)] {
        assert_ne!(base, make(seed, stream, 64), "{seed} {stream}");
    }
    assert_eq!(base[..13], make(1, 2, 13));
    let p: Vec<f64> = Tensor::normal(&cpu, [64], Stream::new(1, 2)).unwrap().to_f64().unwrap();
    assert!(p.iter().zip(&base).any(|(z, u)| (distribution(*z) - f64::from(*u)).abs() > 0.1));
}

#[test]
fn every_device_and_type_makes_the_same_numbers() {
    let (cpu, gpu) = (Device::cpu(), Device::auto().unwrap());
    // The last is beyond 65535 workgroups of 64 lanes of four numbers.
    for shape in [vec![], vec![1], vec![63], vec![1000, 77], vec![65_536 * 256 + 5]] {
        for make in [Tensor::uniform, Tensor::normal] {
            let here: Vec<f32> = make(&cpu, &shape, STREAM).unwrap().to_vec().unwrap();
            let there: Vec<f32> = make(&gpu, &shape, STREAM).unwrap().to_vec().unwrap();
            let differ = here.iter().zip(&there).position(|(a, b)| a.to_bits() != b.to_bits());
            assert_eq!(differ, None, "{shape:?}");
        }
    }
    for make in [Tensor::uniform_in, Tensor::normal_in] {
        let in_type = |dtype| make(&cpu, dtype, [1001], STREAM).unwrap();
        let single = in_type(DType::F32).to_f64().unwrap();
        assert_eq!(single, in_type(DType::F64).to_f64().unwrap());
        let bounded = in_type(DType::Bounded).to_vec::<crate::real::Bounded>().unwrap();
        assert!(bounded.iter().zip(single).all(|(b, v)| b.value == v && b.error == 0.0));
    }
}
