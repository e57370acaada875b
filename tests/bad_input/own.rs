//! Operations of a user that break their word, and a device that is lost.

use super::*;

#[test]
fn a_lost_device_is_an_error_and_a_new_one_works() {
    let gpu = common::gpu();
    let x = Tensor::ones(&gpu, [4]).unwrap().add_scalar(1.0).unwrap();
    gpu.as_gpu().unwrap().destroy();
    let error = x.to_vec::<f32>().unwrap_err();
    assert!(matches!(kind(&error), "DeviceLost" | "Validation"), "{error}");
    let again = common::gpu();
    assert_eq!(Tensor::ones(&again, [2]).unwrap().to_vec::<f32>().unwrap(), [1.0, 1.0]);
}

/// An operation of a user's own whose reference does something else than its rule says.
struct Mistaken(&'static str);

impl Op for Mistaken {
    fn name(&self) -> &'static str {
        "mistaken"
    }
    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![inputs[0]])
    }
    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let real =
            |count: usize| Data::Real(Array { shape: outputs[0].shape, data: vec![R::from_f64(1.0); count] });
        match self.0 {
            "reads an integer" => vec![real(inputs.real(1).data.len() + 3)],
            "reads a real" => vec![real(inputs.int(0).data.len() + 3)],
            "reads a third" => vec![real(inputs.real(2).data.len() + 3)],
            "gives two" => vec![real(3), real(3)],
            "gives none" => vec![],
            "gives four" => vec![real(4)],
            _ => vec![Data::Int(Array { shape: outputs[0].shape, data: vec![0; 3] })],
        }
    }
    fn plan(&self, _: &Gpu, _: &[GpuView], _: &[GpuView]) -> Result<()> {
        Ok(())
    }
    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }
    fn vjp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None, None])
    }
    fn jvp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}

#[test]
fn a_reference_that_disagrees_with_its_rule_is_an_error() {
    let d = Device::cpu();
    let (x, k) = (tensor(&d, &[3]), labels(&d, &[0, 1]));
    let run = |mistake| op::apply(Mistaken(mistake), &[&x, &k]);
    check(vec![
        call("Validation", "input 1 as real numbers, which is of integers", || run("reads an integer")),
        call("Validation", "input 0 as integers, which is of real numbers", || run("reads a real")),
        call("Validation", "input 2 as real numbers, which does not exist", || run("reads a third")),
        call("Validation", "1 outputs, its reference gives 2", || run("gives two")),
        call("Validation", "1 outputs, its reference gives 0", || run("gives none")),
        call("Validation", "output 0 is [3] f32 by its rule, 4 real numbers", || run("gives four")),
        call("Validation", "output 0 is [3] f32 by its rule, 3 integers", || run("gives integers")),
    ]);
}
