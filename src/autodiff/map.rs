//! The derivative of a pointwise function: its formula's.

use super::graph::{At, Differentiable, record_rule};
use crate::error::Result;
use crate::formula::Formula;
use crate::tensor::Tensor;

struct Map {
    name: &'static str,
    formula: Formula,
    inputs: usize,
    keeps: u32,
}

/// Gives the output of a pointwise function its place in the graph.
pub(crate) fn record_map(
    name: &'static str,
    inputs: &[&Tensor],
    formula: &Formula,
    output: Tensor,
) -> Tensor {
    let differentiated = inputs.iter().enumerate().filter(|(_, t)| t.edge.is_some());
    let mut keeps = 0;
    let mut tracked = false;
    for (index, _) in differentiated {
        tracked = true;
        for (k, used) in formula.derivative(index).uses(inputs.len()).into_iter().enumerate() {
            keeps |= u32::from(used) << k;
        }
    }
    if !tracked {
        return output;
    }
    record_rule(Map { name, formula: formula.clone(), inputs: inputs.len(), keeps }, inputs, output)
}

impl Map {
    /// The kept inputs, and the formula's inputs renumbered to them.
    fn kept(&self, at: &At) -> Result<(Vec<Tensor>, Vec<Formula>)> {
        let (mut tensors, mut formulas) = (Vec::new(), Vec::new());
        for index in 0..self.inputs {
            formulas.push(Formula::input(tensors.len()));
            if super::bit(self.keeps, index) {
                tensors.push(at.input(index)?);
            }
        }
        Ok((tensors, formulas))
    }
}

impl Differentiable for Map {
    fn name(&self) -> &'static str {
        self.name
    }

    fn keeps(&self) -> (u32, u32) {
        (self.keeps, 0)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None; self.inputs]) };
        let (kept, renumbered) = self.kept(at)?;
        let mut inputs: Vec<&Tensor> = kept.iter().collect();
        inputs.push(dy);
        (0..self.inputs)
            .map(|index| {
                if !at.needs(index) {
                    return Ok(None);
                }
                let slope = self.formula.derivative(index).substitute(&renumbered);
                let product = slope * Formula::input(kept.len());
                let used = product.uses(inputs.len());
                let dx = if used[kept.len()] {
                    apply(&inputs, &used, &product)?.broadcast_to(dy.shape())?
                } else {
                    dy.full_like(0.0)?
                };
                dx.sum_to(&at.input_meta(index).shape).map(Some)
            })
            .collect()
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let (kept, renumbered) = self.kept(at)?;
        let shape = at.output_meta(0).shape;
        let mut total: Option<Tensor> = None;
        for (index, tangent) in dx.iter().enumerate() {
            let Some(tangent) = tangent else { continue };
            let slope = self.formula.derivative(index).substitute(&renumbered);
            let product = slope * Formula::input(kept.len());
            let mut inputs: Vec<&Tensor> = kept.iter().collect();
            inputs.push(tangent);
            let used = product.uses(inputs.len());
            if used[kept.len()] {
                let term = apply(&inputs, &used, &product)?;
                total = Some(total.map_or(Ok(term.clone()), |sum| sum.add(&term))?);
            }
        }
        Ok(vec![total.map(|t| t.broadcast_to(shape)).transpose()?])
    }
}

/// The formula of those inputs that it uses.
fn apply(inputs: &[&Tensor], used: &[bool], formula: &Formula) -> Result<Tensor> {
    let mut numbered = Vec::new();
    let mut taken: Vec<&Tensor> = Vec::new();
    for (input, &used) in inputs.iter().zip(used) {
        numbered.push(Formula::input(taken.len()));
        if used {
            taken.push(input);
        }
    }
    Tensor::map_named("derivative", &taken, &formula.substitute(&numbered))
}
