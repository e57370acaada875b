//! Loops that end.
//!
//! A mutant may loop for ever (`i += 1` becomes `i -= 1`), and a GPU that does not come back takes the
//! machine with it. So each loop's back edge burns fuel, of which an invocation has a fixed amount. The
//! counter is one private variable for all functions together: a counter per loop, or per call, would let
//! nested loops multiply.
//!
//! An endless loop that is cut short may leave the right result behind. So an invocation without fuel stores
//! nothing any more: its output keeps the poison that verification fills new buffers with.

use std::collections::HashSet;

use naga::{
    AddressSpace, Arena, BinaryOperator, Block, Expression, Function, GlobalVariable, Handle, Literal,
    MemoryDecorations, Module, Range, Scalar, Span, Statement, Type, TypeInner,
};

use super::walk;

/// `module` with every loop bounded: an invocation takes `fuel` loop turns in all, and once they are spent,
/// each loop it is in or enters later ends after the turn at hand, and stores to storage buffers do nothing.
///
/// An invocation that needs fewer than `fuel` turns computes what it computed before. A module without
/// loops is returned as it was. Where control flow was valid it stays valid, but lanes that differ in the
/// turns they spent may leave a loop apart from each other, so a barrier in a loop is uniform only below
/// the limit.
pub fn fuelled(module: &Module, fuel: u32) -> Module {
    let mut module = module.clone();
    let in_functions = module.functions.iter().any(|(_, function)| has_loop(&function.body));
    if !in_functions && !module.entry_points.iter().any(|entry| has_loop(&entry.function.body)) {
        return module;
    }
    let ty = Type { name: None, inner: TypeInner::Scalar(Scalar::U32) };
    let ty = module.types.insert(ty, Span::UNDEFINED);
    let zero = Expression::Literal(Literal::U32(0));
    let zero = module.global_expressions.append(zero, Span::UNDEFINED);
    let tank = GlobalVariable {
        name: Some("loop_turns".to_owned()),
        space: AddressSpace::Private,
        binding: None,
        ty,
        init: Some(zero),
        memory_decorations: MemoryDecorations::empty(),
    };
    let tank = module.global_variables.append(tank, Span::UNDEFINED);
    let storage: Vec<Handle<GlobalVariable>> = module
        .global_variables
        .iter()
        .filter(|(_, variable)| matches!(variable.space, AddressSpace::Storage { .. }))
        .map(|(handle, _)| handle)
        .collect();
    let functions = module.functions.iter_mut().map(|(_, function)| function);
    for function in functions.chain(module.entry_points.iter_mut().map(|entry| &mut entry.function)) {
        let outputs = pointers_to(&storage, function);
        if has_loop(&function.body) || !outputs.is_empty() {
            let meter = Meter::new(&mut function.expressions, tank, fuel);
            meter.attach(&mut function.expressions, &mut function.body);
            meter.guard(&outputs, &mut function.expressions, &mut function.body);
        }
    }
    module
}

/// The expressions of `function` that point into one of `variables`.
fn pointers_to(variables: &[Handle<GlobalVariable>], function: &Function) -> HashSet<Handle<Expression>> {
    let mut found = HashSet::new();
    for (handle, expression) in function.expressions.iter() {
        let points = match *expression {
            Expression::GlobalVariable(variable) => variables.contains(&variable),
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => found.contains(&base),
            _ => false,
        };
        if points {
            found.insert(handle);
        }
    }
    found
}

fn has_loop(block: &Block) -> bool {
    block.iter().any(|statement| {
        matches!(statement, Statement::Loop { .. }) || walk::blocks(statement).into_iter().any(has_loop)
    })
}

/// The operands that all meters of one function share. None of them is emitted.
#[derive(Clone, Copy)]
struct Meter {
    turns: Handle<Expression>,
    one: Handle<Expression>,
    limit: Handle<Expression>,
}

impl Meter {
    fn new(expressions: &mut Arena<Expression>, tank: Handle<GlobalVariable>, fuel: u32) -> Self {
        let mut append = |expression| expressions.append(expression, Span::UNDEFINED);
        Meter {
            turns: append(Expression::GlobalVariable(tank)),
            one: append(Expression::Literal(Literal::U32(1))),
            limit: append(Expression::Literal(Literal::U32(fuel))),
        }
    }

    /// Ends each `continuing` block in `block` with `turns += 1`, and breaks if that reached the limit.
    fn attach(self, expressions: &mut Arena<Expression>, block: &mut Block) {
        for statement in block.iter_mut() {
            for inner in walk::blocks_mut(statement) {
                self.attach(expressions, inner);
            }
            let Statement::Loop { continuing, break_if, .. } = statement else { continue };
            let mut append = |expression| expressions.append(expression, Span::UNDEFINED);
            let before = append(Expression::Load { pointer: self.turns });
            let after = append(Expression::Binary { op: BinaryOperator::Add, left: before, right: self.one });
            let spent = append(Expression::Binary {
                op: BinaryOperator::GreaterEqual,
                left: after,
                right: self.limit,
            });
            let end = match *break_if {
                Some(left) => {
                    append(Expression::Binary { op: BinaryOperator::LogicalOr, left, right: spent })
                }
                None => spent,
            };
            continuing.push(Statement::Emit(Range::new_from_bounds(before, end)), Span::UNDEFINED);
            continuing.push(Statement::Store { pointer: self.turns, value: after }, Span::UNDEFINED);
            *break_if = Some(end);
        }
    }

    /// Puts each store through one of `outputs` under the condition that there is fuel left.
    fn guard(
        self,
        outputs: &HashSet<Handle<Expression>>,
        expressions: &mut Arena<Expression>,
        block: &mut Block,
    ) {
        let mut guarded = Block::with_capacity(block.len());
        for (mut statement, span) in std::mem::take(block).span_into_iter() {
            for inner in walk::blocks_mut(&mut statement) {
                self.guard(outputs, expressions, inner);
            }
            if !matches!(statement, Statement::Store { pointer, .. } if outputs.contains(&pointer)) {
                guarded.push(statement, span);
                continue;
            }
            let mut append = |expression| expressions.append(expression, Span::UNDEFINED);
            let turns = append(Expression::Load { pointer: self.turns });
            let condition =
                append(Expression::Binary { op: BinaryOperator::Less, left: turns, right: self.limit });
            guarded.push(Statement::Emit(Range::new_from_bounds(turns, condition)), Span::UNDEFINED);
            let accept = Block::from_vec(vec![statement]);
            guarded.push(Statement::If { condition, accept, reject: Block::new() }, span);
        }
        *block = guarded;
    }
}
