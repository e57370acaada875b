use super::*;
use crate::device::Device;
use crate::verify::Case;
use std::cell::Cell;

thread_local! {
    /// Whether this thread's attention goes through tensor operations.
    pub(super) static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

/// Every case of the room by the fused operation and by its composition, in f64 on the CPU: values, gradients.
#[test]
fn the_composition_is_the_same_function() {
    let cpu = Device::cpu();
    let mut compared = 0;
    for case in rooms().swap_remove(0).cases.iter().filter(|case: &&Case| !case.fails) {
        let inputs = case.make(&cpu, DType::F64).unwrap();
        let points: Vec<Tensor> = inputs
            .iter()
            .map(|x| if x.dtype().is_float() { x.variable().unwrap() } else { x.clone() })
            .collect();
        let floats: Vec<&Tensor> = points.iter().filter(|x| x.dtype().is_float()).collect();
        let results = [false, true].map(|composed| {
            COMPOSED.set(composed);
            let y = (case.run)(&points).unwrap();
            COMPOSED.set(false);
            let dy = y.sin().unwrap().detach();
            let dx = y.pull_back(&dy, &floats).unwrap();
            std::iter::once(&y).chain(&dx).map(|t| t.to_f64().unwrap()).collect::<Vec<_>>()
        });
        for (fused, composed) in results[0].iter().zip(&results[1]) {
            let scale = composed.iter().fold(1.0f64, |m, x| m.max(x.abs()));
            for (a, b) in fused.iter().zip(composed) {
                let close = (a - b).abs() <= 1e-11 * scale;
                assert!(close, "{}: {a} fused, {b} composed", case.id);
                compared += 1;
            }
        }
    }
    println!("{compared} numbers");
    assert!(compared > 10_000);
}
