//! Second derivatives of every operation: three compositions of the modes against one another and against
//! differences of the gradient, in f64; and on the adapter.

mod common;

use gradus::verify::{Case, Input};
use gradus::{DType, Device, Result, Tensor, autodiff, rooms};

/// What two f64 evaluations of one second derivative may differ by, relative to the largest.
const MODES: f64 = 1e-13;
/// Step of the differences. With Richardson's extrapolation the truncation is of order STEP⁴ = 1e-16 times a
/// fifth derivative, the rounding 1e-16/STEP = 1e-12 times the gradient.
const STEP: f64 = 1e-4;
/// What they may be off by, relative to the largest number they are made of.
const DIFFERENCES: f64 = 1e-7;
/// What f32 on an adapter may be off by, relative to the largest: a mistake shows, rounding does not. The
/// second derivatives in `golden_torch.rs` are held to a derived bound instead.
const ADAPTER: f64 = 1e-4;

/// A case with random weights and a random direction, on one device.
struct Problem<'a> {
    case: &'a Case,
    inputs: Vec<Tensor>,
    floats: Vec<usize>,
    weights: Tensor,
    directions: Vec<Tensor>,
}

impl<'a> Problem<'a> {
    fn new(case: &'a Case, device: &Device, dtype: DType) -> Result<Self> {
        let inputs = case.make(device, dtype)?;
        let floats: Vec<usize> = (0..inputs.len()).filter(|&i| case.inputs[i].is_float()).collect();
        let like = |t: &Tensor, seed| Input::any(t.shape()).make(device, dtype, seed);
        let weights = like(&(case.run)(&inputs)?, 1000)?;
        let directions: Result<_> =
            floats.iter().zip(2000..).map(|(&i, seed)| like(&inputs[i], seed)).collect();
        Ok(Problem { case, inputs, floats, weights, directions: directions? })
    }

    /// ½·Σ w·y²: its Hessian holds the second derivatives of y and the products of the first.
    fn loss(&self, points: &[Tensor]) -> Result<Tensor> {
        let mut x = self.inputs.clone();
        for (&i, point) in self.floats.iter().zip(points) {
            x[i] = point.clone();
        }
        (self.case.run)(&x)?.square()?.mul(&self.weights)?.sum(&[], false)?.mul_scalar(0.5)
    }

    /// The points, `h` along the direction, as variables.
    fn points(&self, h: f64) -> Result<Vec<Tensor>> {
        let moved = |(&i, v): (&usize, &Tensor)| match h {
            // As the case places them: adding zero would make them dense.
            0.0 => self.inputs[i].variable(),
            _ => self.inputs[i].add(&v.mul_scalar(h)?)?.variable(),
        };
        self.floats.iter().zip(&self.directions).map(moved).collect()
    }

    fn gradient(&self, h: f64) -> Result<Vec<f64>> {
        let points = self.points(h)?;
        flat(&self.loss(&points)?.grad(&refs(&points))?)
    }

    fn forward_over_reverse(&self) -> Result<Vec<f64>> {
        flat(&autodiff::hvp(|x| self.loss(x), &refs(&self.points(0.0)?), &refs(&self.directions))?)
    }

    fn reverse_over_reverse(&self) -> Result<Vec<f64>> {
        let points = self.points(0.0)?;
        let gradient = self.loss(&points)?.grad(&refs(&points))?;
        let mut slope = Tensor::full(gradient[0].device(), gradient[0].dtype(), [], 0.0)?;
        for (g, v) in gradient.iter().zip(&self.directions) {
            slope = slope.add(&g.mul(v)?.sum(&[], false)?)?;
        }
        flat(&slope.grad(&refs(&points))?)
    }

    fn reverse_over_forward(&self) -> Result<Vec<f64>> {
        let points = self.points(0.0)?;
        let (_, slope) = autodiff::jvp(|x| self.loss(x), &refs(&points), &refs(&self.directions))?;
        flat(&slope.grad(&refs(&points))?)
    }
}

fn refs(tensors: &[Tensor]) -> Vec<&Tensor> {
    tensors.iter().collect()
}

fn flat(tensors: &[Tensor]) -> Result<Vec<f64>> {
    tensors.iter().try_fold(vec![], |mut all, t| {
        all.extend(t.to_f64()?);
        Ok(all)
    })
}

fn size(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// The largest difference relative to `scale`; infinite for what is not a number.
fn distance(a: &[f64], b: &[f64], scale: f64) -> f64 {
    assert_eq!(a.len(), b.len());
    let worst = |m: f64, (a, b): (&f64, &f64)| {
        let d = (a - b).abs() / scale;
        if d.is_nan() { f64::INFINITY } else { m.max(d) }
    };
    a.iter().zip(b).fold(0.0, worst)
}

/// Every case whose gradient is checked and which has numbers to differentiate.
fn each(mut check: impl FnMut(&Case) -> Result<Option<String>>) {
    let (mut operations, mut count, mut failures) = (0, 0, vec![]);
    for room in rooms() {
        let before = count;
        for case in room.cases.iter().filter(|c| c.gradient && c.inputs.iter().any(Input::is_float)) {
            match check(case) {
                Ok(None) => {}
                Ok(Some(why)) => failures.push(format!("{}: {why}", case.id)),
                Err(error) => failures.push(format!("{}: {error}", case.id)),
            }
            count += 1;
        }
        operations += usize::from(count > before);
    }
    println!("{operations} operations, {count} cases");
    assert!(failures.is_empty(), "{} of {count}\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_operation_has_second_derivatives() {
    let (mut modes, mut differences) = (0.0f64, 0.0f64);
    each(|case| {
        let problem = Problem::new(case, &Device::cpu(), DType::F64)?;
        let exact = problem.forward_over_reverse()?;
        let gradient = problem.gradient(0.0)?;
        let scale = size(&exact).max(size(&gradient)).max(1.0);
        for other in [problem.reverse_over_reverse()?, problem.reverse_over_forward()?] {
            let d = distance(&exact, &other, scale);
            modes = modes.max(d);
            if d > MODES {
                return Ok(Some(format!("the modes differ by {d:e}")));
            }
        }
        let slope = |h: f64| -> Result<Vec<f64>> {
            let (plus, minus) = (problem.gradient(h)?, problem.gradient(-h)?);
            Ok(plus.iter().zip(&minus).map(|(p, m)| (p - m) / (2.0 * h)).collect())
        };
        let (wide, narrow) = (slope(STEP)?, slope(STEP / 2.0)?);
        let difference: Vec<f64> = wide.iter().zip(&narrow).map(|(w, n)| (4.0 * n - w) / 3.0).collect();
        let d = distance(&exact, &difference, scale);
        differences = differences.max(d);
        Ok((d > DIFFERENCES).then(|| format!("differences are {d:e} off")))
    });
    println!("modes differ by {modes:.1e} at most, differences by {differences:.1e}");
}

#[test]
fn second_derivatives_on_the_adapter_are_those_of_the_truth() {
    let (gpu, mut worst) = (common::gpu(), 0.0f64);
    each(|case| {
        let truth = Problem::new(case, &Device::cpu(), DType::F64)?;
        let exact = truth.forward_over_reverse()?;
        let scale = size(&exact).max(size(&truth.gradient(0.0)?)).max(1.0);
        let problem = Problem::new(case, &gpu, DType::F32)?;
        let found = distance(&exact, &problem.forward_over_reverse()?, scale);
        let other = distance(&exact, &problem.reverse_over_reverse()?, scale);
        worst = worst.max(found).max(other);
        Ok((found > ADAPTER || other > ADAPTER).then(|| format!("{found:e} and {other:e} off")))
    });
    println!("{worst:.1e} off at most");
}
