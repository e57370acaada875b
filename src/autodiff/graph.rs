//! Nodes and edges of the graph of derivatives.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::op::Meta;
use crate::tensor::{Tensor, Value};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// What an operation says about its derivative, once its types are erased.
pub trait Differentiable: Send + Sync + 'static {
    /// The name, for error messages.
    fn name(&self) -> &'static str;
    /// Which inputs and outputs the derivative reads, as bits.
    fn keeps(&self) -> (u32, u32);
    /// The cotangents of the inputs.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>>;
    /// The tangents of the outputs.
    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>>;
}

/// Where a tensor comes from: one output of a node.
#[derive(Clone)]
pub(crate) struct Edge {
    pub node: Arc<Node>,
    pub output: usize,
}

impl Edge {
    /// What identifies the tensor in a walk.
    pub fn key(&self) -> (u64, usize) {
        (self.node.id, self.output)
    }
}

/// One operation that was applied, or a variable.
pub(crate) struct Node {
    /// Grows with time: an operation's number is above those of its inputs.
    pub id: u64,
    /// `None` for a variable.
    pub rule: Option<Arc<dyn Differentiable>>,
    pub inputs: Vec<Slot>,
    outputs: OnceLock<Vec<Slot>>,
}

/// An input or output as its node remembers it.
pub(crate) struct Slot {
    pub meta: Meta,
    pub edge: Option<Edge>,
    kept: Option<Arc<Value>>,
    device: Device,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Node {
    fn new(rule: Option<Arc<dyn Differentiable>>, inputs: Vec<Slot>) -> Arc<Node> {
        Arc::new(Node { id: NEXT.fetch_add(1, Relaxed), rule, inputs, outputs: OnceLock::new() })
    }

    pub fn outputs(&self) -> &[Slot] {
        self.outputs.get().map_or(&[], Vec::as_slice)
    }

    /// The operation's name and shapes, for error messages.
    pub fn describe(&self) -> (&'static str, String) {
        let name = self.rule.as_ref().map_or("variable", |r| r.name());
        let list = |slots: &[Slot]| {
            slots.iter().fold(String::new(), |mut text, slot| {
                let _ = write!(text, "{}{}", if text.is_empty() { "" } else { ", " }, slot.meta);
                text
            })
        };
        (name, format!("({}) → ({})", list(&self.inputs), list(self.outputs())))
    }
}

impl Drop for Node {
    /// Takes a long chain apart link by link: dropping it recursively would exhaust the stack.
    fn drop(&mut self) {
        let mut stack: Vec<Slot> = std::mem::take(&mut self.inputs);
        while let Some(slot) = stack.pop() {
            if let Some(mut node) = slot.edge.and_then(|edge| Arc::into_inner(edge.node)) {
                stack.append(&mut node.inputs);
            }
        }
    }
}

impl Slot {
    fn of(tensor: &Tensor, keep: bool) -> Slot {
        Slot {
            meta: tensor.meta(),
            edge: tensor.edge.clone(),
            kept: keep.then(|| tensor.value.clone()),
            device: tensor.device().clone(),
        }
    }
}

/// What a rule sees of the operation whose derivative it computes.
pub struct At<'a> {
    node: &'a Arc<Node>,
    /// Whether values come with their place in the graph, so that the result can be differentiated again.
    tracked: bool,
    /// The cotangents that are asked for, if not those of all variables.
    asked: Option<&'a Asked<'a>>,
}

/// The values whose cotangents a walk back is to find.
pub(super) struct Asked<'a> {
    targets: &'a HashSet<(u64, usize)>,
    /// The nodes from which one can be reached backwards.
    pub leading: HashSet<u64>,
}

impl<'a> Asked<'a> {
    /// Those of `targets` that can be reached from a node.
    pub fn of(root: Arc<Node>, targets: &'a HashSet<(u64, usize)>) -> Self {
        let mut asked = Asked { targets, leading: HashSet::new() };
        for node in ancestors(root, targets.iter().map(|t| t.0).min().unwrap_or(0)).values() {
            if node.inputs.iter().filter_map(|slot| slot.edge.as_ref()).any(|edge| asked.through(edge)) {
                asked.leading.insert(node.id);
            }
        }
        asked
    }

    /// Whether a cotangent that goes there is one that is asked for, or leads to one.
    fn through(&self, edge: &Edge) -> bool {
        self.targets.contains(&edge.key()) || self.leading.contains(&edge.node.id)
    }
}

/// The node and all it depends on with numbers from `oldest` on, the oldest first.
pub(super) fn ancestors(root: Arc<Node>, oldest: u64) -> BTreeMap<u64, Arc<Node>> {
    let (mut seen, mut stack) = (BTreeMap::new(), vec![root]);
    while let Some(node) = stack.pop() {
        if node.id < oldest || seen.contains_key(&node.id) {
            continue;
        }
        stack.extend(node.inputs.iter().filter_map(|s| s.edge.as_ref()).map(|e| e.node.clone()));
        seen.insert(node.id, node);
    }
    seen
}

impl<'a> At<'a> {
    pub(super) fn new(node: &'a Arc<Node>, tracked: bool, asked: Option<&'a Asked<'a>>) -> Self {
        At { node, tracked, asked }
    }

    fn get(&self, slot: &Slot, edge: Option<Edge>) -> Result<Tensor> {
        match &slot.kept {
            Some(value) => Ok(Tensor { value: value.clone(), edge: if self.tracked { edge } else { None } }),
            None => Err(Error::no_gradient(
                self.node.describe().0,
                "its rule reads a value that it did not keep",
                "Name the value in `keeps`.",
            )),
        }
    }

    /// The value of an input that [`keeps`](Differentiable::keeps) names.
    pub fn input(&self, index: usize) -> Result<Tensor> {
        let slot = &self.node.inputs[index];
        self.get(slot, slot.edge.clone())
    }

    /// The value of an output that [`keeps`](Differentiable::keeps) names.
    pub fn output(&self, index: usize) -> Result<Tensor> {
        let edge = Edge { node: self.node.clone(), output: index };
        self.get(&self.node.outputs()[index], Some(edge))
    }

    /// The value of an input that the rule itself holds, in its place in the graph.
    pub(super) fn placed(&self, index: usize, value: &Tensor) -> Tensor {
        let edge = if self.tracked { self.node.inputs[index].edge.clone() } else { None };
        Tensor { value: value.value.clone(), edge }
    }

    /// Whether the derivative is itself to be differentiated.
    pub(super) fn is_tracked(&self) -> bool {
        self.tracked
    }

    /// Shape and type of an input.
    pub fn input_meta(&self, index: usize) -> Meta {
        self.node.inputs[index].meta
    }

    /// Shape and type of an output.
    pub fn output_meta(&self, index: usize) -> Meta {
        self.node.outputs()[index].meta
    }

    /// How many inputs there are.
    pub fn inputs(&self) -> usize {
        self.node.inputs.len()
    }

    /// Whether anybody asks for the cotangent of an input.
    pub fn needs(&self, index: usize) -> bool {
        let edge = self.node.inputs[index].edge.as_ref();
        edge.is_some_and(|edge| self.asked.is_none_or(|asked| asked.through(edge)))
    }

    /// Zeros like an output: the cotangent of one that nothing depends on.
    pub fn zero_output(&self, index: usize) -> Result<Tensor> {
        let slot = &self.node.outputs()[index];
        Tensor::full(&slot.device, slot.meta.dtype, slot.meta.shape, 0.0)
    }

    /// Zeros like an input: the tangent of one that does not move.
    pub fn zero_input(&self, index: usize) -> Result<Tensor> {
        let slot = &self.node.inputs[index];
        Tensor::full(&slot.device, slot.meta.dtype, slot.meta.shape, 0.0)
    }
}

/// Whether the bit is set; of an operation with more inputs than the mask has bits, those beyond are not.
pub(crate) fn bit(mask: u32, index: usize) -> bool {
    mask.checked_shr(index as u32).is_some_and(|rest| rest & 1 == 1)
}

/// Gives the outputs of an operation their place in the graph, if any input has one.
pub(crate) fn record(
    rule: Arc<impl Differentiable>,
    inputs: &[&Tensor],
    outputs: Vec<Tensor>,
) -> Vec<Tensor> {
    if inputs.iter().all(|t| t.edge.is_none()) {
        return outputs;
    }
    let (keep_in, keep_out) = rule.keeps();
    let slots = inputs.iter().enumerate().map(|(i, t)| Slot::of(t, bit(keep_in, i))).collect();
    let node = Node::new(Some(rule), slots);
    let slots = outputs.iter().enumerate().map(|(i, t)| Slot::of(t, bit(keep_out, i))).collect();
    let _ = node.outputs.set(slots);
    outputs
        .into_iter()
        .enumerate()
        .map(|(output, tensor)| {
            // No gradient leaves an integer: labels and indices are where the graph ends.
            let edge = tensor.dtype().is_float().then(|| Edge { node: node.clone(), output });
            Tensor { value: tensor.value, edge }
        })
        .collect()
}

/// [`record`] for a rule with one output.
pub(crate) fn record_rule(rule: impl Differentiable, inputs: &[&Tensor], output: Tensor) -> Tensor {
    let value = output.value.clone();
    record(Arc::new(rule), inputs, vec![output]).pop().unwrap_or(Tensor { value, edge: None })
}

/// Reads the tensor as itself: a place in the graph that a walk can start or stop at.
struct Identity;

impl Differentiable for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }
    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }
    fn vjp(&self, _: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![dy[0].clone()])
    }
    fn jvp(&self, _: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![dx[0].clone()])
    }
}

impl Tensor {
    /// The same value as a variable: a place where gradients arrive.
    ///
    /// Errors: [`Error::DType`] for integers, through which no gradient flows.
    pub fn variable(&self) -> Result<Tensor> {
        self.require_float("variable")?;
        Ok(self.leaf())
    }

    fn leaf(&self) -> Tensor {
        let node = Node::new(None, vec![]);
        let _ = node.outputs.set(vec![Slot { edge: None, ..Slot::of(self, false) }]);
        Tensor { value: self.value.clone(), edge: Some(Edge { node, output: 0 }) }
    }

    /// A place of its own in the graph for the same value, still connected to where it came from.
    pub(crate) fn tap(&self) -> Tensor {
        if self.edge.is_none() { self.leaf() } else { record_rule(Identity, &[self], self.detach()) }
    }

    /// Whether a gradient can flow back from this tensor.
    pub fn is_tracked(&self) -> bool {
        self.edge.is_some()
    }
}
