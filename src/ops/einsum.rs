//! Sums of products by Einstein's convention, lowered to permutation, multiplication and summation.

use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};
use std::collections::BTreeMap;

const OP: &str = "einsum";

/// What an axis is called: a letter, or a place counted from the end of the ellipsis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// A tensor and what its axes are called.
struct Term {
    tensor: Tensor,
    labels: Vec<Label>,
}

/// The labels of one operand; `rank` tells how many axes the ellipsis stands for.
fn labels(text: &str, rank: usize, given: &dyn Fn() -> String) -> Result<Vec<Label>> {
    let wrong = |remedy: &str| Err(Error::argument(OP, format!("'{text}' in {}", given()), remedy));
    let letters = text.replace("...", "");
    if !letters.chars().all(|c| c.is_ascii_alphabetic()) || text.matches("...").count() > 1 {
        return wrong("Axes are letters, with at most one ellipsis ... among them.");
    }
    let hidden = match rank.checked_sub(letters.len()) {
        Some(hidden) if hidden == 0 || text.contains("...") => hidden,
        _ => return wrong("Name each axis of the operand, or write ... for some."),
    };
    let (front, back) = text.split_once("...").unwrap_or((text, ""));
    let ellipsis = (0..hidden).rev().map(Label::Ellipsis);
    Ok(front.chars().map(Label::Letter).chain(ellipsis).chain(back.chars().map(Label::Letter)).collect())
}

impl Term {
    fn axis(&self, label: Label) -> Option<usize> {
        self.labels.iter().position(|&l| l == label)
    }

    /// The diagonal of each pair of axes with one label.
    fn diagonal(mut self) -> Result<Term> {
        while let Some((a, b)) = self.pair() {
            let mut order: Vec<usize> = (0..self.labels.len()).filter(|&k| k != a && k != b).collect();
            let (extent, mut dims) =
                (self.tensor.shape()[a], order.iter().map(|&k| self.tensor.shape()[k]).collect::<Vec<_>>());
            let label = self.labels[a];
            let mut kept: Vec<Label> = order.iter().map(|&k| self.labels[k]).collect();
            order.extend([a, b]);
            dims.push(extent * extent);
            let flat = self.tensor.permute(&order)?.reshape(dims)?;
            kept.push(label);
            self = Term { tensor: flat.slice_step(-1, 0, extent * extent, extent + 1)?, labels: kept };
        }
        Ok(self)
    }

    fn pair(&self) -> Option<(usize, usize)> {
        let again = |a: usize| (a + 1..self.labels.len()).find(|&b| self.labels[b] == self.labels[a]);
        (0..self.labels.len()).find_map(|a| again(a).map(|b| (a, b)))
    }

    /// Summed over the axes that nobody asks for.
    fn only(self, wanted: impl Fn(Label) -> bool) -> Result<Term> {
        let gone: Vec<isize> =
            (0..self.labels.len()).filter(|&a| !wanted(self.labels[a])).map(|a| a as isize).collect();
        if gone.is_empty() {
            return Ok(self);
        }
        let tensor = self.tensor.sum(&gone, false)?;
        Ok(Term { tensor, labels: self.labels.into_iter().filter(|&l| wanted(l)).collect() })
    }

    /// As three axes: those labels merged, those, and those.
    fn merged(&self, groups: [&[Label]; 3]) -> Result<Tensor> {
        let order: Option<Vec<usize>> = groups.concat().into_iter().map(|label| self.axis(label)).collect();
        let turned = self.tensor.permute(&order.unwrap_or_default())?;
        let mut extents = turned.shape().iter();
        turned.reshape(groups.map(|group| extents.by_ref().take(group.len()).product::<usize>()))
    }

    /// The product with another, summed over what both have and nobody asks for.
    fn times(self, other: Term, wanted: impl Fn(Label) -> bool) -> Result<Term> {
        let left = self.only(|l| wanted(l) || other.axis(l).is_some())?;
        let right = other.only(|l| wanted(l) || left.axis(l).is_some())?;
        let (both, rows): (Vec<Label>, Vec<Label>) =
            left.labels.iter().partition(|&&l| right.axis(l).is_some());
        let columns: Vec<Label> = right.labels.iter().copied().filter(|&l| left.axis(l).is_none()).collect();
        let (batch, summed): (Vec<Label>, Vec<Label>) = both.into_iter().partition(|&l| wanted(l));
        let a = left.merged([&batch, &rows, &summed])?;
        let product = if summed.is_empty() {
            a.mul(&right.merged([&batch, &summed, &columns])?)?
        } else {
            a.matmul(&right.merged([&batch, &summed, &columns])?)?
        };
        let labels = [batch, rows, columns].concat();
        let extent = |label: &Label| {
            let (term, axis) = left.axis(*label).map_or((&right, right.axis(*label)), |a| (&left, Some(a)));
            axis.map_or(1, |axis| term.tensor.shape()[axis])
        };
        let dims: Vec<usize> = labels.iter().map(extent).collect();
        Ok(Term { tensor: product.reshape(dims)?, labels })
    }
}

/// The labels of the result: as written, or by the convention those that occur once, in their order.
fn result(text: Option<&str>, terms: &[Term], given: &dyn Fn() -> String) -> Result<Vec<Label>> {
    let all = || terms.iter().flat_map(|term| term.labels.iter().copied());
    let hidden = all().filter(|l| matches!(l, Label::Ellipsis(_))).max();
    let hidden = hidden.map_or(0, |label| if let Label::Ellipsis(at) = label { at + 1 } else { 0 });
    let Some(text) = text else {
        let mut once: Vec<Label> = all().filter(|&l| all().filter(|&m| m == l).count() == 1).collect();
        once.retain(|l| matches!(l, Label::Letter(_)));
        once.sort();
        return Ok((0..hidden).rev().map(Label::Ellipsis).chain(once).collect());
    };
    let letters = text.replace("...", "").len();
    let named = labels(text, letters + if text.contains("...") { hidden } else { 0 }, given)?;
    let wrong = named.iter().enumerate().find(|&(k, l)| named[..k].contains(l) || !all().any(|m| m == *l));
    match wrong {
        Some((_, label)) => Err(Error::argument(
            OP,
            format!("{label:?} of the result '{text}' in {}", given()),
            "Each axis of the result is one of the operands', and named once.",
        )),
        None => Ok(named),
    }
}

/// Axes of extent one under the ellipsis stretched to those of the other operands.
fn stretched(terms: Vec<Term>, given: &dyn Fn() -> String) -> Result<Vec<Term>> {
    let mut extents: BTreeMap<Label, usize> = BTreeMap::new();
    for term in &terms {
        for (&label, &extent) in term.labels.iter().zip(term.tensor.shape().iter()) {
            let known = extents.entry(label).or_insert(extent);
            let loose = matches!(label, Label::Ellipsis(_));
            if *known == 1 && loose {
                *known = extent;
            } else if *known != extent && !(loose && extent == 1) {
                let given = format!("{label:?} is {known} and {extent} in {}", given());
                return Err(Error::shape(OP, given, "Axes of one name have one extent."));
            }
        }
    }
    let stretch = |term: Term| {
        let dims: Vec<usize> = term.labels.iter().map(|label| extents[label]).collect();
        Ok(Term { tensor: term.tensor.broadcast_to(dims)?, labels: term.labels })
    };
    terms.into_iter().map(stretch).collect()
}

impl Tensor {
    /// The sum of products that `equation` describes, for instance `"bij,bjk->bik"`: each operand's axes are
    /// letters; those that the result does not name are summed over. A letter twice in one operand reads its
    /// diagonal; `...` stands for axes that broadcast. Without `->` the result has the letters that occur
    /// once, in their order, behind those of `...`.
    ///
    /// Operands are multiplied from left to right, each product a matmul. Gradients are those of what it is
    /// composed of. Errors: [`Error::Argument`] for an equation that does not fit, [`Error::Shape`],
    /// [`Error::DType`], [`Error::Device`]. Source: Einstein 1916; numpy's `einsum`.
    pub fn einsum(equation: &str, operands: &[&Tensor]) -> Result<Tensor> {
        let text: String = equation.split_whitespace().collect();
        let given = || {
            let shapes: Vec<String> = operands.iter().map(|t| t.describe()).collect();
            format!("'{equation}' of {}", shapes.join(", "))
        };
        let (left, right) = text.split_once("->").map_or((&*text, None), |(left, right)| (left, Some(right)));
        let texts: Vec<&str> = left.split(',').collect();
        if texts.len() != operands.len() || operands.is_empty() {
            return Err(Error::argument(OP, given(), "Name the axes of each operand, separated by commas."));
        }
        let mut terms = vec![];
        for (text, &tensor) in texts.into_iter().zip(operands) {
            tensor.require_float(OP)?;
            let labels = labels(text, tensor.rank(), &given)?;
            terms.push(Term { tensor: tensor.clone(), labels });
        }
        let wanted = result(right, &terms, &given)?;
        let terms: Result<Vec<Term>> = stretched(terms, &given)?.into_iter().map(Term::diagonal).collect();
        let mut terms = std::collections::VecDeque::from(terms?);
        while terms.len() > 1 {
            let (Some(a), Some(b)) = (terms.pop_front(), terms.pop_front()) else { break };
            let asked = |l: Label| wanted.contains(&l) || terms.iter().any(|term| term.axis(l).is_some());
            let product = a.times(b, asked)?;
            terms.push_front(product);
        }
        let Some(term) = terms.pop_front() else {
            return Err(Error::argument(OP, given(), "Give operands."));
        };
        let last = term.only(|l| wanted.contains(&l))?;
        let order: Option<Vec<usize>> = wanted.iter().map(|&label| last.axis(label)).collect();
        last.tensor.permute(&order.unwrap_or_default())
    }
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<Room> {
    let case = |equation: &'static str, inputs: Vec<Input>| {
        Case::new(OP, equation, inputs, move |x| Tensor::einsum(equation, &x.iter().collect::<Vec<_>>()))
    };
    let whole = |shape: &[usize]| Input::whole(shape);
    let linear = [
        ("ij,jk->ik", vec![whole(&[5, 7]), whole(&[7, 3])]),
        ("bij,bjk->bik", vec![whole(&[3, 4, 5]), whole(&[3, 5, 2])]),
        ("bhqd,bkhd->bhqk", vec![whole(&[2, 3, 4, 5]), whole(&[2, 6, 3, 5])]),
        ("ji", vec![whole(&[3, 4])]),
        ("ij->", vec![whole(&[3, 4])]),
        ("i,i", vec![whole(&[9]), whole(&[9])]),
        ("i,j->ji", vec![whole(&[3]), whole(&[4])]),
        ("ij,ij->ij", vec![whole(&[3, 4]), whole(&[3, 4]).transposed()]),
        ("ij,ij->j", vec![whole(&[3, 4]), whole(&[3, 4]).strided()]),
        ("ii->i", vec![whole(&[5, 5])]),
        ("ii", vec![whole(&[5, 5])]),
        ("iji->j", vec![whole(&[3, 4, 3])]),
        ("...ii->...i", vec![whole(&[2, 3, 4, 4])]),
        ("...ij,...jk->...ik", vec![whole(&[2, 1, 3, 4]), whole(&[5, 4, 2])]),
        ("i...,i...", vec![whole(&[3, 4]), whole(&[3, 4])]),
        (" b n , n -> b ", vec![whole(&[3, 4]), whole(&[4])]),
        ("ij,k->i", vec![whole(&[3, 4]), whole(&[2])]),
        ("ij,jk->ki", vec![whole(&[0, 4]), whole(&[4, 2])]),
        (",i->i", vec![whole(&[]), whole(&[4])]),
        ("aB,Bc->ac", vec![whole(&[2, 3]), whole(&[3, 2])]),
    ];
    let mut cases: Vec<Case> =
        linear.into_iter().map(|(equation, inputs)| case(equation, inputs).exact()).collect();
    cases.push(case("ij,jk,kl->il", vec![Input::any([3, 4]), Input::any([4, 5]), Input::any([5, 2])]));
    cases.push(case("ij,ik,il->jkl", vec![Input::any([3, 2]), Input::any([3, 4]), Input::any([3, 2])]));
    for (equation, shapes) in [
        ("ij,jk->ik", vec![vec![2, 3], vec![4, 2]]),
        ("ij->ik", vec![vec![2, 3]]),
        ("ij->ii", vec![vec![2, 3]]),
        ("ij,jk", vec![vec![2, 3]]),
        ("ijk", vec![vec![2, 3]]),
        ("i...j...", vec![vec![2, 3]]),
        ("i1->i", vec![vec![2, 3]]),
        ("i->...", vec![vec![2, 3]]),
        ("", vec![vec![2]]),
        ("ij->j->i", vec![vec![2, 3]]),
    ] {
        let inputs = shapes.iter().map(Input::any).collect();
        let case = case(equation, inputs);
        cases.push(Case { id: format!("{} {shapes:?}", case.id), ..case }.fails());
    }
    cases.push(case("i,i ", vec![Input::index([3], 4), Input::any([3])]).fails());
    vec![Room { op: OP, cases }]
}
