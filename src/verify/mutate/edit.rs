//! The changes a mutant can make to a function.

use naga::{Block, Expression, Function, Handle, Literal, Range, Span, Statement};

use super::walk;

/// One change to one function. A statement is named by its number in preorder.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// Another expression in the place of this one, with operands that precede it.
    Expression(Handle<Expression>, Expression),
    /// Another statement in the place of this one.
    Statement(usize, Statement),
    /// The condition of this `if` becomes a literal.
    Condition(usize, bool),
    /// The value of this store becomes a literal.
    Stored(usize, bool),
    /// The arms of this `if` change places, and the literal that one of them stores is inverted. On the
    /// form naga gives `a && b`, which is `if a { t = b } else { t = false }`, that makes `a || b`; on the
    /// form of `a || b` it makes `a && b`.
    ShortCircuit(usize, Handle<Expression>),
    /// This `workgroupUniformLoad` becomes a plain load, without its barriers.
    PlainLoad(usize),
}

impl Edit {
    /// Changes `function`. False, with nothing changed, if it has no such place.
    pub(super) fn apply(&self, function: &mut Function) -> bool {
        let expressions = &mut function.expressions;
        let mut at = match *self {
            Edit::Expression(handle, ref with) => {
                let fits = expressions.check_contains_handle(handle).is_ok();
                if fits {
                    expressions[handle] = with.clone();
                }
                return fits;
            }
            Edit::Statement(at, _)
            | Edit::Condition(at, _)
            | Edit::Stored(at, _)
            | Edit::ShortCircuit(at, _)
            | Edit::PlainLoad(at) => at,
        };
        let Some(statement) = walk::statement_mut(&mut function.body, &mut at) else { return false };
        let mut literal = |value| {
            // A literal needs no `Emit`, so it may stand at the end of the arena.
            expressions.append(Expression::Literal(Literal::Bool(value)), Span::UNDEFINED)
        };
        match (self, statement) {
            (Edit::Statement(_, with), statement) => *statement = with.clone(),
            (&Edit::Condition(_, value), Statement::If { condition, .. }) => *condition = literal(value),
            (&Edit::Stored(_, to), Statement::Store { value, .. }) => *value = literal(to),
            (&Edit::ShortCircuit(_, shortcut), Statement::If { accept, reject, .. }) => {
                match expressions.try_get(shortcut) {
                    Ok(&Expression::Literal(Literal::Bool(value))) => {
                        expressions[shortcut] = Expression::Literal(Literal::Bool(!value));
                        std::mem::swap::<Block>(accept, reject);
                    }
                    _ => return false,
                }
            }
            (Edit::PlainLoad(_), statement) => {
                let Statement::WorkGroupUniformLoad { pointer, result } = *statement else { return false };
                if expressions.check_contains_handle(result).is_err() {
                    return false;
                }
                expressions[result] = Expression::Load { pointer };
                *statement = Statement::Emit(Range::new_from_bounds(result, result));
            }
            _ => return false,
        }
        true
    }
}
