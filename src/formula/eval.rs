//! A formula's value over whole columns of numbers.

use super::{Binary, Expr, Formula, Unary};
use crate::real::Real;
use std::collections::HashMap;

/// How many elements an instruction works on at a time: a register of them stays in the first-level cache.
const BLOCK: usize = 256;

/// A formula in the order of its evaluation: one instruction a distinct node, registers numbered alike.
pub(crate) struct Program(Vec<Instruction>);

enum Instruction {
    Input(usize),
    Number(f64),
    Unary(Unary, usize),
    Binary(Binary, usize, usize),
    Select(usize, usize, usize),
}

impl Program {
    pub fn new(formula: &Formula) -> Self {
        let mut register: HashMap<*const Expr, usize> = HashMap::new();
        let mut code = Vec::new();
        for node in formula.nodes() {
            let at = |f: &Formula| register[&f.address()];
            code.push(match &*node.0 {
                Expr::Input(index) => Instruction::Input(*index),
                Expr::Constant(value) | Expr::Scalar(value) => Instruction::Number(*value),
                Expr::Unary(op, a) => Instruction::Unary(*op, at(a)),
                Expr::Binary(op, a, b) => Instruction::Binary(*op, at(a), at(b)),
                Expr::Select(a, b, c) => Instruction::Select(at(a), at(b), at(c)),
            });
            register.insert(node.address(), code.len() - 1);
        }
        Program(code)
    }

    /// Fills `out` from columns of the same length. A missing column reads as zero.
    pub fn run<R: Real>(&self, inputs: &[&[R]], out: &mut [R]) {
        let mut registers = vec![[R::default(); BLOCK]; self.0.len()];
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let (start, n) = (block * BLOCK, out.len());
            for (k, instruction) in self.0.iter().enumerate() {
                let (before, rest) = registers.split_at_mut(k);
                let to = &mut rest[0][..n];
                match *instruction {
                    Instruction::Input(index) => match inputs.get(index) {
                        Some(column) => to.copy_from_slice(&column[start..start + n]),
                        None => to.fill(R::default()),
                    },
                    Instruction::Number(value) => to.fill(R::from_f64(value)),
                    Instruction::Unary(op, a) => {
                        to.iter_mut().zip(&before[a]).for_each(|(to, &a)| *to = op.apply(a));
                    }
                    Instruction::Binary(op, a, b) => {
                        let both = before[a].iter().zip(&before[b]);
                        to.iter_mut().zip(both).for_each(|(to, (&a, &b))| *to = op.apply(a, b));
                    }
                    Instruction::Select(m, a, b) => {
                        for i in 0..n {
                            to[i] = R::select(before[m][i], before[a][i], before[b][i]);
                        }
                    }
                }
            }
            if let Some(last) = registers.last() {
                out.copy_from_slice(&last[..n]);
            }
        }
    }
}
