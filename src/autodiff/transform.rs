//! The walks over the graph, and the transformations of functions built from them.

use super::graph::{Asked, At, Node, ancestors};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The gradients that arrived at variables.
#[derive(Debug, Default)]
pub struct Gradients {
    /// In the order in which the walk met their variables: that of the computation, whenever variables were made.
    all: Vec<((u64, usize), Tensor)>,
    /// Where each lies in `all`.
    places: HashMap<(u64, usize), usize>,
}

impl Gradients {
    /// The gradient of a variable.
    ///
    /// Errors: [`Error::NoGradient`] if it is not one, or the result did not depend on it.
    pub fn get(&self, variable: &Tensor) -> Result<&Tensor> {
        self.try_get(variable).ok_or_else(|| {
            Error::no_gradient(
                "gradients",
                format!("none arrived at {}", variable.describe()),
                "Make it a variable before the forward pass, and let the result depend on it.",
            )
        })
    }

    /// The gradient of a variable, if any arrived.
    pub fn try_get(&self, variable: &Tensor) -> Option<&Tensor> {
        self.at(&variable.edge.as_ref()?.key())
    }

    /// How many gradients there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether no gradient arrived.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds the gradients of another loss of the same variables: those of one large batch are the sum over its
    /// parts, if each part's loss is its share of the whole. Variables that only one knows keep what they have.
    ///
    /// ```
    /// use gradus::{Device, Tensor, autodiff::Gradients};
    /// # fn main() -> gradus::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[1.0f32, 2.0], [2])?.variable()?;
    /// let mut sum = Gradients::default();
    /// for part in 0..3 {
    ///     let loss = x.square()?.sum(&[], false)?.mul_scalar(f64::from(part) / 3.0)?;
    ///     sum.add(loss.backward()?)?;
    /// }
    /// assert_eq!(sum.get(&x)?.to_vec::<f32>()?, [2.0, 4.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Errors: whatever the device reports.
    pub fn add(&mut self, other: Gradients) -> Result<()> {
        for (key, gradient) in other.all {
            // A sum that stayed pending would carry all its parts along.
            self.arrive(key, gradient)?.view()?;
        }
        Ok(())
    }

    fn at(&self, key: &(u64, usize)) -> Option<&Tensor> {
        self.places.get(key).map(|&place| &self.all[place].1)
    }

    /// Adds to what has arrived there, and returns the sum.
    fn arrive(&mut self, key: (u64, usize), gradient: Tensor) -> Result<&Tensor> {
        let place = *self.places.entry(key).or_insert(self.all.len());
        match self.all.get_mut(place) {
            Some((_, sum)) => *sum = sum.add(&gradient)?,
            None => self.all.push((key, gradient)),
        }
        Ok(&self.all[place].1)
    }

    /// Every gradient times a number.
    pub fn scaled(self, factor: f64) -> Result<Gradients> {
        self.map_all(|gradient| gradient.mul_scalar(factor))
    }

    /// Changes every gradient.
    pub(crate) fn map_all(mut self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Gradients> {
        self.all.iter_mut().try_for_each(|(_, gradient)| f(gradient).map(|changed| *gradient = changed))?;
        Ok(self)
    }

    /// All of them, in an order that the computation alone decides: sums over them have the same bits in every run.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Tensor> {
        self.all.iter().map(|(_, gradient)| gradient)
    }
}

fn annotate(node: &Arc<Node>, result: Result<Vec<Option<Tensor>>>) -> Result<Vec<Option<Tensor>>> {
    result.map_err(|source| match source {
        Error::Backward { .. } => source,
        source => {
            let (op, shapes) = node.describe();
            Error::Backward { op, shapes, source: Box::new(source) }
        }
    })
}

/// Adds a cotangent or tangent to what has arrived.
fn accumulate(place: &mut Option<Tensor>, new: Tensor) -> Result<()> {
    *place = Some(match place.take() {
        Some(old) => old.add(&new)?,
        None => new,
    });
    Ok(())
}

/// Walks back from `y`. Stops at variables, and at `targets` if there are any.
fn reverse(y: &Tensor, dy: &Tensor, targets: &HashSet<(u64, usize)>, tracked: bool) -> Result<Gradients> {
    let mut found = Gradients::default();
    let Some(root) = &y.edge else {
        return Err(Error::no_gradient(
            "backward",
            format!("{} does not depend on any variable", y.describe()),
            "Call variable() on what should receive a gradient before the forward pass.",
        ));
    };
    let asked = (!targets.is_empty()).then(|| Asked::of(root.node.clone(), targets));
    // The largest number first: then everything that uses a node has been seen before the node.
    let mut open: BTreeMap<u64, (Arc<Node>, Vec<Option<Tensor>>)> = BTreeMap::new();
    let mut arrive = |open: &mut BTreeMap<u64, _>, edge: &super::Edge, dx: Tensor| -> Result<()> {
        let dx = if tracked { dx } else { dx.detach() };
        if targets.contains(&edge.key()) || (edge.node.rule.is_none() && targets.is_empty()) {
            found.arrive(edge.key(), dx.clone())?;
        }
        if edge.node.rule.is_some()
            && asked.as_ref().is_none_or(|asked| asked.leading.contains(&edge.node.id))
        {
            let empty = || (edge.node.clone(), vec![None; edge.node.outputs().len()]);
            let (_, grads): &mut (Arc<Node>, Vec<Option<Tensor>>) =
                open.entry(edge.node.id).or_insert_with(empty);
            accumulate(&mut grads[edge.output], dx)?;
        }
        Ok(())
    };
    arrive(&mut open, root, dy.clone())?;
    while let Some((_, (node, dy))) = open.pop_last() {
        let Some(rule) = &node.rule else { continue };
        let dx = annotate(&node, rule.vjp(&At::new(&node, tracked, asked.as_ref()), &dy))?;
        for (slot, dx) in node.inputs.iter().zip(dx) {
            if let (Some(edge), Some(dx)) = (&slot.edge, dx) {
                arrive(&mut open, edge, dx)?;
            }
        }
    }
    Ok(found)
}

/// Walks forward from `xs`, whose tangents are `vs`, to `y`. Part of the graph, at `xs` and `vs`.
pub(super) fn forward(y: &Tensor, xs: &[Tensor], vs: &[&Tensor]) -> Result<Option<Tensor>> {
    walk_forward(y, xs, vs, true)
}

/// [`forward`] as a linear function of `vs`, whose graph it is part of: not of that of `xs`.
pub(crate) fn forward_linear(y: &Tensor, xs: &[Tensor], vs: &[&Tensor]) -> Result<Option<Tensor>> {
    walk_forward(y, xs, vs, false)
}

fn walk_forward(y: &Tensor, xs: &[Tensor], vs: &[&Tensor], tracked: bool) -> Result<Option<Tensor>> {
    let mut tangents: HashMap<(u64, usize), Tensor> = HashMap::new();
    for (x, &v) in xs.iter().zip(vs) {
        tangents.extend(x.edge.as_ref().map(|edge| (edge.key(), v.clone())));
    }
    let Some(root) = &y.edge else { return Ok(None) };
    let oldest = tangents.keys().map(|k| k.0).min().unwrap_or(0);
    for node in ancestors(root.node.clone(), oldest).values() {
        let Some(rule) = &node.rule else { continue };
        if tangents.contains_key(&(node.id, 0))
            && xs.iter().any(|x| x.edge.as_ref().map(|e| e.node.id) == Some(node.id))
        {
            continue;
        }
        let get =
            |slot: &super::graph::Slot| slot.edge.as_ref().and_then(|e| tangents.get(&e.key()).cloned());
        let dx: Vec<Option<Tensor>> = node.inputs.iter().map(get).collect();
        if dx.iter().all(Option::is_none) {
            continue;
        }
        let dy = annotate(node, rule.jvp(&At::new(node, tracked, None), &dx))?;
        for (output, dy) in dy.into_iter().enumerate() {
            tangents.extend(dy.map(|dy| ((node.id, output), dy)));
        }
    }
    Ok(tangents.remove(&root.key()))
}

impl Tensor {
    /// The gradients of this scalar with respect to every variable it depends on. They are plain values;
    /// [`grad`](Self::grad) gives ones that can be differentiated again.
    ///
    /// Errors: [`Error::Shape`] if there is not exactly one element, [`Error::NoGradient`] if it depends on
    /// no variable, [`Error::Backward`] naming the operation that failed.
    pub fn backward(&self) -> Result<Gradients> {
        self.require_scalar("backward")?;
        reverse(self, &self.full_like(1.0)?, &HashSet::new(), false)
    }

    fn require_scalar(&self, op: &'static str) -> Result<()> {
        if self.count() == 1 {
            return Ok(());
        }
        Err(Error::shape(
            op,
            format!("{} has {} elements", self.shape(), self.count()),
            "A gradient is that of a scalar: reduce with sum or mean, or use vjp with a cotangent.",
        ))
    }

    /// The gradients of this scalar with respect to `inputs`, themselves part of the graph: they can be
    /// differentiated again. Zero for an input it does not depend on.
    pub fn grad(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        self.require_scalar("grad")?;
        self.pull_back(&self.full_like(1.0)?, inputs)
    }

    /// The cotangents of `inputs` for the cotangent `dy` of this tensor, part of the graph.
    pub fn pull_back(&self, dy: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        if dy.shape() != self.shape() || dy.dtype() != self.dtype() {
            return Err(Error::shape(
                "pull_back",
                format!("cotangent {} for {}", dy.describe(), self.describe()),
                "A cotangent has the shape and type of the value.",
            ));
        }
        self.device().check_same("pull_back", dy.device())?;
        cotangents(self, dy, inputs, true)
    }
}

/// The cotangents of `inputs` for the cotangent `dy` of `y`; part of the graph if `tracked`.
pub(super) fn cotangents(y: &Tensor, dy: &Tensor, inputs: &[&Tensor], tracked: bool) -> Result<Vec<Tensor>> {
    let keys: Option<Vec<_>> = inputs.iter().map(|x| x.edge.as_ref().map(super::Edge::key)).collect();
    let keys = keys.ok_or_else(|| {
        Error::no_gradient("grad", "an input is not part of the graph", "Make it a variable first.")
    })?;
    // Without targets a walk would stop at every variable.
    if y.edge.is_none() || inputs.is_empty() {
        return inputs.iter().map(|x| x.full_like(0.0)).collect();
    }
    let found = reverse(y, dy, &keys.iter().copied().collect(), tracked)?;
    keys.iter().zip(inputs).map(|(k, x)| found.at(k).cloned().map_or_else(|| x.full_like(0.0), Ok)).collect()
}

/// The value of `f` at `xs` and the cotangents of `xs` for the cotangent `dy` of the value.
pub fn vjp(
    f: impl FnOnce(&[Tensor]) -> Result<Tensor>,
    xs: &[&Tensor],
    dy: &Tensor,
) -> Result<(Tensor, Vec<Tensor>)> {
    let taps: Vec<Tensor> = xs.iter().map(|x| x.tap()).collect();
    let y = f(&taps)?;
    let dx = y.pull_back(dy, &taps.iter().collect::<Vec<_>>())?;
    Ok((y, dx))
}

/// The value of `f` at `xs` and its derivative in the direction `vs`, by forward mode over the graph of
/// the value.
///
/// Errors: [`Error::Shape`] if the directions are not shaped like the points.
pub fn jvp(
    f: impl FnOnce(&[Tensor]) -> Result<Tensor>,
    xs: &[&Tensor],
    vs: &[&Tensor],
) -> Result<(Tensor, Tensor)> {
    if xs.len() != vs.len() || xs.iter().zip(vs).any(|(x, v)| x.shape() != v.shape()) {
        return Err(Error::shape(
            "jvp",
            format!("{} points, {} directions", xs.len(), vs.len()),
            "Give one direction for each point, of the point's shape.",
        ));
    }
    let taps: Vec<Tensor> = xs.iter().map(|x| x.tap()).collect();
    let y = f(&taps)?;
    let dy = forward(&y, &taps, vs)?.map_or_else(|| y.full_like(0.0), Ok)?;
    Ok((y, dy))
}

/// The derivatives of several values of `f` at `xs` in the direction `vs`; `None` for one that does not
/// depend on `xs`.
pub(crate) fn push_forward(
    f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>>,
    xs: &[&Tensor],
    vs: &[&Tensor],
) -> Result<Vec<Option<Tensor>>> {
    let taps: Vec<Tensor> = xs.iter().map(|x| x.tap()).collect();
    f(&taps)?.iter().map(|y| forward(y, &taps, vs)).collect()
}

/// The product of the Hessian of the scalar function `f` at `xs` with the direction `vs`: forward mode
/// over reverse mode.
pub fn hvp(
    f: impl FnOnce(&[Tensor]) -> Result<Tensor>,
    xs: &[&Tensor],
    vs: &[&Tensor],
) -> Result<Vec<Tensor>> {
    let taps: Vec<Tensor> = xs.iter().map(|x| x.tap()).collect();
    let gradients = f(&taps)?.grad(&taps.iter().collect::<Vec<_>>())?;
    gradients.iter().map(|g| forward(g, &taps, vs)?.map_or_else(|| g.full_like(0.0), Ok)).collect()
}
