use super::*;
use crate::autodiff::{jvp, vjp};
use crate::device::Device;

/// More elements than 65535 workgroups of 64 invocations take: kernels must find their fold.
const SIDE: usize = 2050;

#[test]
fn windows_of_one_cell_change_nothing_beyond_65535_workgroups() {
    let device = Device::auto().unwrap();
    let pool = Pool2d::new([1, 1]);
    let numbers: Vec<f32> = (0..SIDE * SIDE).map(|i| (i as f32).sin()).collect();
    let x = Tensor::from_slice(&device, &numbers, [1, 1, SIDE, SIDE]).unwrap();
    let (_, positions) = x.max_pool2d_with_indices(pool).unwrap();
    assert!(positions.to_vec::<i32>().unwrap().into_iter().eq(0..(SIDE * SIDE) as i32));
    for run in [Tensor::max_pool2d, Tensor::sum_pool2d] {
        let (y, dx) = vjp(|x| run(&x[0], pool), &[&x], &x).unwrap();
        let (_, dy) = jvp(|x| run(&x[0], pool), &[&x], &[&x]).unwrap();
        for found in [y, dx[0].clone(), dy] {
            assert!(found.to_vec::<f32>().unwrap() == numbers);
        }
    }
}

#[test]
fn averages_count_the_padding_or_not() {
    let x = Tensor::ones(&Device::cpu(), [1, 1, 2, 2]).unwrap();
    let pool = Pool2d::new([2, 2]).padding([1, 1]);
    assert_eq!(x.avg_pool2d(pool, true).unwrap().to_f64().unwrap(), [0.25; 4]);
    assert_eq!(x.avg_pool2d(pool, false).unwrap().to_f64().unwrap(), [1.0; 4]);
}

#[test]
fn max_pool_gives_a_tie_to_the_first() {
    let x = Tensor::ones(&Device::cpu(), [1, 1, 3, 3]).unwrap().variable().unwrap();
    let pool = Pool2d::new([2, 2]).stride([1, 1]);
    let dx = x.max_pool2d(pool).unwrap().sum(&[], false).unwrap().grad(&[&x]).unwrap();
    assert_eq!(dx[0].to_f64().unwrap(), [1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
}
