//! The symbolic derivative of a formula, itself a formula.

use super::{Binary, Expr, Formula, Unary};
use std::collections::HashMap;
use std::f64::consts::PI;

impl Formula {
    /// The partial derivative with respect to one input.
    ///
    /// Where the function has a kink the choice stands with the function: zero for [`abs`](Self::abs) and
    /// the comparisons, the taken branch for [`select`](Self::select), one half for a tie of
    /// [`max`](Self::max) and [`min`](Self::min).
    pub fn derivative(&self, input: usize) -> Formula {
        let mut done: HashMap<*const Expr, Formula> = HashMap::new();
        for node in self.nodes() {
            let d = |f: &Formula| done[&f.address()].clone();
            let derivative = match &*node.0 {
                Expr::Input(index) => Formula::constant(if *index == input { 1.0 } else { 0.0 }),
                Expr::Constant(_) | Expr::Scalar(_) => Formula::constant(0.0),
                Expr::Unary(op, a) => {
                    let da = d(a);
                    if da.as_constant() == Some(0.0) { da } else { unary(*op, a, node) * da }
                }
                Expr::Binary(op, a, b) => binary(*op, a, b, d(a), d(b)),
                Expr::Select(mask, a, b) => Formula::select(mask.clone(), d(a), d(b)),
            };
            done.insert(node.address(), derivative);
        }
        done[&self.address()].clone()
    }
}

/// f′(x), where `y` is f(x).
fn unary(op: Unary, x: &Formula, y: &Formula) -> Formula {
    let (x, y) = (x.clone(), y.clone());
    match op {
        Unary::Neg => Formula::constant(-1.0),
        Unary::Exp => y,
        Unary::Ln => x.recip(),
        Unary::Sqrt => 0.5 / y,
        Unary::Rsqrt => -0.5 * y.clone() * y.clone() * y,
        Unary::Tanh => 1.0 - y.clone() * y,
        Unary::Erf => 2.0 / PI.sqrt() * (-(x.clone() * x)).exp(),
        Unary::Sin => x.cos(),
        Unary::Cos => -x.sin(),
        Unary::Abs => x.sign(),
        Unary::Floor => Formula::constant(0.0),
    }
}

fn binary(op: Binary, a: &Formula, b: &Formula, da: Formula, db: Formula) -> Formula {
    let (a, b) = (a.clone(), b.clone());
    match op {
        Binary::Add => da + db,
        Binary::Sub => da - db,
        Binary::Mul => da * b + a * db,
        Binary::Div => da / b.clone() - a * db / (b.clone() * b),
        Binary::Max => pick(a.clone().less(b.clone()), a.equal(b), da, db),
        Binary::Min => pick(b.clone().less(a.clone()), a.equal(b), da, db),
        Binary::Less | Binary::Equal => Formula::constant(0.0),
    }
}

/// db where `second`, the mean of both on a `tie`, else da.
fn pick(second: Formula, tie: Formula, da: Formula, db: Formula) -> Formula {
    let mean = 0.5 * (da.clone() + db.clone());
    Formula::select(second, db, Formula::select(tie, mean, da))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central differences in f64 of every activation and its first derivative, away from kinks.
    #[test]
    fn derivatives_agree_with_central_differences() {
        type F = fn(Formula) -> Formula;
        let functions: [(&str, F); 20] = [
            ("relu", |x| x.relu()),
            ("leaky_relu", |x| x.leaky_relu(0.1)),
            ("sigmoid", |x| x.sigmoid()),
            ("silu", |x| x.silu()),
            ("softplus", |x| x.softplus()),
            ("gelu", |x| x.gelu()),
            ("gelu_tanh", |x| x.gelu_tanh()),
            ("elu", |x| x.elu(0.7)),
            ("selu", |x| x.selu()),
            ("mish", |x| x.mish()),
            ("softsign", |x| x.softsign()),
            ("hardswish", |x| x.hardswish()),
            ("square", |x| x.square()),
            ("recip", |x| x.recip()),
            ("cube", |x| x.powi(-3)),
            ("powf", |x| (x.square() + 1.0).powf(1.3)),
            ("rsqrt", |x| (x.square() + 0.5).rsqrt()),
            ("trig", |x| x.clone().sin() * x.cos()),
            ("max", |x| x.clone().max(0.5 * x.clone().square()).min(1.5)),
            ("clamp", |x| x.clamp(-1.0, 2.0)),
        ];
        for (name, f) in functions {
            let y = f(Formula::input(0));
            let mut order = y.clone();
            for n in 1..=2 {
                let next = order.derivative(0);
                for x in [-2.3, -1.1, -0.4, 0.3, 0.9, 2.6f64] {
                    let h = 1e-5;
                    let slope = (order.eval(&[x + h]) - order.eval(&[x - h])) / (2.0 * h);
                    let exact = next.eval(&[x]);
                    assert!(
                        (slope - exact).abs() <= 1e-7 * (1.0 + exact.abs()),
                        "{name}: derivative {n} at {x}: {exact}, differences give {slope}"
                    );
                }
                order = next;
            }
        }
    }

    /// What is put together from branches that meet at zero has both its derivatives there.
    #[test]
    fn smooth_functions_are_smooth_at_zero() {
        type F = fn(Formula) -> Formula;
        let ln2 = 2f64.ln();
        let mish = (ln2.tanh(), 1.0 - ln2.tanh().powi(2));
        let functions: [(&str, F, f64, f64); 6] = [
            ("sigmoid", |x| x.sigmoid(), 0.25, 0.0),
            ("silu", |x| x.silu(), 0.5, 0.5),
            ("softplus", |x| x.softplus(), 0.5, 0.25),
            ("mish", |x| x.mish(), mish.0, mish.1),
            ("gelu", |x| x.gelu(), 0.5, 2.0 / (2.0 * PI).sqrt()),
            ("gelu_tanh", |x| x.gelu_tanh(), 0.5, (2.0 / PI).sqrt()),
        ];
        for (name, f, first, second) in functions {
            let slope = f(Formula::input(0)).derivative(0);
            let found = [slope.eval(&[0.0]), slope.derivative(0).eval(&[0.0])];
            assert!((found[0] - first).abs() < 1e-15, "{name}: first derivative {}", found[0]);
            assert!((found[1] - second).abs() < 1e-15, "{name}: second derivative {}", found[1]);
        }
        // The kink of elu is gone for alpha = 1.
        assert_eq!(Formula::input(0).elu(1.0).derivative(0).eval(&[0.0]), 1.0);
    }
}
