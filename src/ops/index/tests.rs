use super::*;
use crate::device::Device;

/// More elements than 65535 workgroups of 64 invocations take: kernels must find their fold.
const MANY: usize = 65_535 * 64 + 77;

#[test]
fn kernels_reach_beyond_65535_workgroups() {
    let device = Device::auto().unwrap();
    let numbers: Vec<f32> = (0..MANY).map(|i| (i as f32).sin()).collect();
    let x = Tensor::from_slice(&device, &numbers, [MANY]).unwrap();
    let backwards: Vec<i32> = (0..MANY as i32).rev().collect();
    let indices = Tensor::from_slice(&device, &backwards, [MANY]).unwrap();
    let y = x.index_select(0, &indices).unwrap().to_vec::<f32>().unwrap();
    assert!(y.iter().eq(numbers.iter().rev()));

    let places = Tensor::from_slice(&device, &[5, MANY as i32 - 1, 5], [3]).unwrap();
    let three = Tensor::from_slice(&device, &[1f32, 2.0, 4.0], [3]).unwrap();
    let y = three.index_add(0, &places, MANY).unwrap().to_vec::<f32>().unwrap();
    let found: Vec<(usize, f32)> = y.into_iter().enumerate().filter(|(_, v)| *v != 0.0).collect();
    assert_eq!(found, [(5, 5.0), (MANY - 1, 2.0)]);

    let labels: Vec<i32> = (0..MANY as i32).map(|r| r % 3).collect();
    let labels = Tensor::from_slice(&device, &labels, [MANY]).unwrap();
    let rows = x.unpick(&labels, 3).unwrap();
    let picked = rows.pick(&labels).unwrap();
    assert!(picked.to_vec::<f32>().unwrap() == numbers);
    assert!(rows.sum(&[1], false).unwrap().to_vec::<f32>().unwrap() == numbers);
}

#[test]
fn an_index_out_of_range_names_operation_value_and_limit() {
    let cpu = Device::cpu();
    let x = Tensor::zeros(&cpu, [4, 2]).unwrap();
    let indices = Tensor::from_slice(&cpu, &[0, 9], [2]).unwrap();
    let error = x.embedding(&indices).unwrap_err();
    assert!(matches!(error, Error::Index { .. }));
    let text = error.to_string();
    assert!(
        text.starts_with("embedding: ") && text.contains("9, number 1") && text.contains("0..4"),
        "{text}"
    );
}

#[test]
fn indices_read_back_once_keep_their_range() {
    let x = Tensor::zeros(&Device::cpu(), [3]).unwrap().add_scalar(2.0).unwrap();
    let indices = x.to_dtype(DType::I32).unwrap();
    assert_eq!(indices.meta().range, None);
    assert_eq!(in_range("test", &indices, 3).unwrap().meta().range, Some((2, 2)));
    assert!(in_range("test", &indices, 2).is_err());
}
