//! The mistakes worth making: which changes each expression and statement admits.

use std::collections::{HashMap, HashSet};

use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{
    BinaryOperator, Block, Expression, Function, Handle, Literal, Module, Scalar, Span, Statement,
    SwizzleComponent, TypeInner, UnaryOperator,
};

use super::builtins;
use super::edit::Edit;
use super::walk::{self, Place};

/// A change that may turn out invalid or no change at all.
pub(super) struct Proposal {
    /// Where in the source it is, as far as known.
    pub(super) span: Span,
    /// What it does to the text at `span`.
    pub(super) change: String,
    pub(super) edit: Edit,
}

/// The changes that one expression admits: what each does, and what takes the expression's place.
pub(super) type Changes = Vec<(String, Expression)>;

/// All changes to the function at `place`, in the order of the source.
pub(super) fn proposals(module: &Module, place: Place, info: &ModuleInfo) -> Vec<Proposal> {
    let Some(function) = place.function(module) else { return Vec::new() };
    let mut site =
        Site { module, function, info: place.info(info), fixed: HashSet::new(), found: Vec::new() };
    let live = walk::live_expressions(module, function);
    let spans = spans(module, function, &live);
    walk::for_each_live(module, function, &mut |number, statement, span| {
        site.statement(number, statement, span, &spans);
    });
    for (handle, _) in function.expressions.iter() {
        if live.contains(&handle) && !site.fixed.contains(&handle) {
            let span = spans.get(&handle).copied().unwrap_or_default();
            let named = function.expressions.get_span(handle).is_defined();
            for (change, with) in site.expression(handle) {
                // The text at a borrowed span is not this expression, but contains it: the 1 in `i++`.
                let change = if named { change } else { format!("inside: {change}") };
                site.found.push(Proposal { span, change, edit: Edit::Expression(handle, with) });
            }
        }
    }
    let mut found = site.found;
    found.sort_by_key(|proposal| proposal.span.to_range().map(|range| (range.start, range.end)));
    found
}

/// The span of each live expression. naga leaves out those of loads of variables, and of the 1 in `i++`:
/// these take the span of their first user.
fn spans(
    module: &Module,
    function: &Function,
    live: &HashSet<Handle<Expression>>,
) -> HashMap<Handle<Expression>, Span> {
    let mut spans = HashMap::new();
    walk::for_each_live(module, function, &mut |_, statement, span| {
        walk::statement_operands(statement, &mut |operand| {
            spans.entry(operand).or_insert(span);
        });
    });
    // Users stand behind their operands, so that from back to front each user is settled before them.
    for (handle, expression) in function.expressions.iter().rev().filter(|(handle, _)| live.contains(handle))
    {
        let own = function.expressions.get_span(handle);
        if own.is_defined() {
            spans.insert(handle, own);
        }
        if let Some(&span) = spans.get(&handle) {
            walk::expression_operands(expression, &mut |operand| {
                spans.insert(operand, span);
            });
        }
    }
    spans
}

/// A function under change.
pub(super) struct Site<'a> {
    module: &'a Module,
    function: &'a Function,
    info: &'a FunctionInfo,
    /// Expressions that are not for changing: constant conditions are specialisation, and the parts of a
    /// lowered `&&` have no place of their own in the source.
    fixed: HashSet<Handle<Expression>>,
    found: Vec<Proposal>,
}

impl<'a> Site<'a> {
    fn ty(&self, handle: Handle<Expression>) -> &'a TypeInner {
        self.info[handle].ty.inner_with(&self.module.types)
    }

    fn propose(&mut self, span: Span, change: impl Into<String>, edit: Edit) {
        self.found.push(Proposal { span, change: change.into(), edit });
    }

    fn statement(
        &mut self,
        number: usize,
        statement: &Statement,
        span: Span,
        spans: &HashMap<Handle<Expression>, Span>,
    ) {
        match *statement {
            Statement::If { condition, ref accept, ref reject } => {
                let constant = walk::constant_bool(self.module, self.function, condition);
                if constant.is_some() {
                    self.fixed.insert(condition);
                }
                if let Some(logical) = Logical::of(self.function, condition, accept, reject) {
                    self.fixed.extend(logical.synthetic);
                    let (op, other) = if logical.is_or { ("||", "&&") } else { ("&&", "||") };
                    self.propose(
                        span,
                        format!("{op} → {other}"),
                        Edit::ShortCircuit(number, logical.shortcut),
                    );
                    if constant.is_none() {
                        let left = Edit::Condition(number, true);
                        self.propose(span, format!("left of {op} dropped"), left);
                        // The store of the right operand ends the first arm.
                        let right = Edit::Stored(number + count(accept), !logical.is_or);
                        self.propose(span, format!("right of {op} dropped"), right);
                    }
                } else if constant.is_none() {
                    let span = spans.get(&condition).copied().unwrap_or(span);
                    // A loop's own condition, always true, is an endless loop: slow, and nothing learnt.
                    let guards_loop = accept.is_empty() && matches!(**reject, [Statement::Break]);
                    if !guards_loop {
                        self.propose(span, "as a condition → true", Edit::Condition(number, true));
                    }
                    self.propose(span, "as a condition → false", Edit::Condition(number, false));
                }
            }
            Statement::Switch { selector, .. } => {
                self.fixed.extend(walk::constant(self.module, self.function, selector).map(|_| selector));
            }
            Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) => {
                let nothing = Statement::Block(Block::new());
                self.propose(span, "removed", Edit::Statement(number, nothing));
            }
            Statement::WorkGroupUniformLoad { .. } => {
                self.propose(span, "without barriers", Edit::PlainLoad(number));
            }
            Statement::SubgroupCollectiveOperation { .. } | Statement::SubgroupGather { .. } => {
                for (change, with) in builtins::subgroup(statement) {
                    self.propose(span, change, Edit::Statement(number, with));
                }
            }
            _ => {}
        }
    }

    /// What may stand in the place of an expression.
    fn expression(&self, handle: Handle<Expression>) -> Changes {
        match self.function.expressions[handle] {
            Expression::Literal(value) => literal(value, true),
            Expression::Constant(_) => match walk::constant(self.module, self.function, handle) {
                // A constant true or false chooses between variants of the shader.
                None | Some(Literal::Bool(_)) => Vec::new(),
                Some(value) => literal(value, false),
            },
            Expression::AccessIndex { base, index } => self.neighbour(base, index),
            Expression::Swizzle { size, vector, pattern } => {
                let used = size as usize;
                let mut turned = pattern;
                turned[..used].rotate_left(1);
                let name = |pattern: [SwizzleComponent; 4]| -> String {
                    pattern[..used]
                        .iter()
                        .map(|&component| ['x', 'y', 'z', 'w'][component as usize])
                        .collect()
                };
                let change = format!(".{} → .{}", name(pattern), name(turned));
                vec![(change, Expression::Swizzle { size, vector, pattern: turned })]
            }
            Expression::Unary { op, expr } => {
                let symbol = match op {
                    UnaryOperator::Negate => "-",
                    UnaryOperator::LogicalNot => "!",
                    UnaryOperator::BitwiseNot => "~",
                };
                self.identity(expr).into_iter().map(|same| (format!("{symbol} removed"), same)).collect()
            }
            Expression::Binary { op, left, right } => self.binary(op, left, right),
            Expression::Select { condition, accept, reject }
                if walk::constant_bool(self.module, self.function, condition).is_none() =>
            {
                let swapped = Expression::Select { condition, accept: reject, reject: accept };
                vec![("arms swapped".to_owned(), swapped)]
            }
            Expression::Relational { fun, argument } => {
                use naga::RelationalFunction as R;
                let (change, fun) = match fun {
                    R::All => ("all → any", R::Any),
                    R::Any => ("any → all", R::All),
                    R::IsNan | R::IsInf => return Vec::new(),
                };
                vec![(change.to_owned(), Expression::Relational { fun, argument })]
            }
            Expression::Math { fun, arg, arg1, arg2, arg3 } => self.math(fun, arg, [arg1, arg2, arg3]),
            _ => Vec::new(),
        }
    }

    /// The value of `operand`, as an expression that needs nothing else.
    pub(super) fn identity(&self, operand: Handle<Expression>) -> Option<Expression> {
        match *self.ty(operand) {
            TypeInner::Scalar(Scalar { kind, width })
            | TypeInner::Vector { scalar: Scalar { kind, width }, .. }
            | TypeInner::Matrix { scalar: Scalar { kind, width }, .. } => {
                Some(Expression::As { expr: operand, kind, convert: Some(width) })
            }
            _ => None,
        }
    }

    /// Whether two operands of one expression read the same place; naga loads a variable anew for each use.
    pub(super) fn same(&self, a: Handle<Expression>, b: Handle<Expression>) -> bool {
        use Expression as E;
        match (&self.function.expressions[a], &self.function.expressions[b]) {
            _ if a == b => true,
            (&E::Load { pointer: a }, &E::Load { pointer: b }) => self.same(a, b),
            (&E::Access { base: a, index: i }, &E::Access { base: b, index: j }) => {
                self.same(a, b) && self.same(i, j)
            }
            (&E::AccessIndex { base: a, index: i }, &E::AccessIndex { base: b, index: j }) => {
                i == j && self.same(a, b)
            }
            (a, b) => a == b,
        }
    }

    /// The next field of the same type, or the next component or element, cyclically.
    fn neighbour(&self, base: Handle<Expression>, index: u32) -> Changes {
        let inner = match *self.ty(base) {
            TypeInner::Pointer { base, .. } => &self.module.types[base].inner,
            ref inner => inner,
        };
        let (next, change) = match *inner {
            TypeInner::Struct { ref members, .. } => {
                let Some(old) = members.get(index as usize) else { return Vec::new() };
                let after = (index as usize + 1..members.len()).chain(0..index as usize);
                let Some(next) = after.into_iter().find(|&next| members[next].ty == old.ty) else {
                    return Vec::new();
                };
                let name = |at: usize| match &members[at].name {
                    Some(name) => name.clone(),
                    None => at.to_string(),
                };
                (next as u32, format!(".{} → .{}", name(index as usize), name(next)))
            }
            TypeInner::Vector { size, .. } | TypeInner::ValuePointer { size: Some(size), .. } => {
                let next = (index + 1) % size as u32;
                let name = |at: u32| ["x", "y", "z", "w"].get(at as usize).copied().unwrap_or("?");
                (next, format!(".{} → .{}", name(index), name(next)))
            }
            TypeInner::Matrix { columns, .. } => {
                let next = (index + 1) % columns as u32;
                (next, format!("[{index}] → [{next}]"))
            }
            TypeInner::Array { size, .. } => {
                let next = match size {
                    naga::ArraySize::Constant(size) => (index + 1) % size,
                    _ => index.saturating_add(1),
                };
                (next, format!("[{index}] → [{next}]"))
            }
            _ => return Vec::new(),
        };
        vec![(change, Expression::AccessIndex { base, index: next })]
    }

    fn binary(&self, op: BinaryOperator, left: Handle<Expression>, right: Handle<Expression>) -> Changes {
        use BinaryOperator as B;
        let others: &[B] = match op {
            B::Add => &[B::Subtract],
            B::Subtract => &[B::Add],
            B::Multiply if self.ty(left) == self.ty(right) => &[B::Add],
            B::Multiply => {
                // A vector or matrix times a scalar admits no other operator; leave out the scalar.
                let scalar = |handle| matches!(self.ty(handle), TypeInner::Scalar(_));
                let kept = if scalar(left) { right } else { left };
                let same = if scalar(left) || scalar(right) { self.identity(kept) } else { None };
                return same.into_iter().map(|same| ("scalar factor dropped".to_owned(), same)).collect();
            }
            B::Divide => &[B::Multiply],
            B::Modulo => &[B::Divide],
            B::Equal => &[B::NotEqual],
            B::NotEqual => &[B::Equal],
            B::Less => &[B::LessEqual, B::Greater],
            B::LessEqual => &[B::Less, B::GreaterEqual],
            B::Greater => &[B::GreaterEqual, B::Less],
            B::GreaterEqual => &[B::Greater, B::LessEqual],
            B::And => &[B::InclusiveOr],
            B::InclusiveOr => &[B::And],
            B::ExclusiveOr => &[B::And],
            B::LogicalAnd => &[B::LogicalOr],
            B::LogicalOr => &[B::LogicalAnd],
            B::ShiftLeft => &[B::ShiftRight],
            B::ShiftRight => &[B::ShiftLeft],
        };
        let change = |&other| {
            (format!("{} → {}", symbol(op), symbol(other)), Expression::Binary { op: other, left, right })
        };
        others.iter().map(change).collect()
    }
}

/// The form naga gives `a && b` and `a || b`, which must not evaluate `b` in vain:
/// `if a { …; t = b } else { t = false }` and `if !a { …; t = b } else { t = true }`.
struct Logical {
    is_or: bool,
    /// The literal that is stored without looking at `b`.
    shortcut: Handle<Expression>,
    /// The expressions that stand for nothing in the source.
    synthetic: Vec<Handle<Expression>>,
}

impl Logical {
    fn of(
        function: &Function,
        condition: Handle<Expression>,
        accept: &Block,
        reject: &Block,
    ) -> Option<Self> {
        let variable = |statement: &Statement| match *statement {
            Statement::Store { pointer, value } => match *function.expressions.try_get(pointer).ok()? {
                Expression::LocalVariable(variable) => Some((variable, value)),
                _ => None,
            },
            _ => None,
        };
        let [otherwise] = &**reject else { return None };
        let (target, _) = variable(accept.last()?)?;
        let (same, shortcut) = variable(otherwise)?;
        let unnamed = function.local_variables.try_get(target).ok()?.name.is_none();
        let Ok(&Expression::Literal(Literal::Bool(is_or))) = function.expressions.try_get(shortcut) else {
            return None;
        };
        if target != same || !unnamed {
            return None;
        }
        let mut synthetic = vec![shortcut];
        synthetic.extend(is_or.then_some(condition));
        Some(Logical { is_or, shortcut, synthetic })
    }
}

/// The statements of `block` and of the blocks inside it.
fn count(block: &Block) -> usize {
    block.iter().map(|statement| 1 + walk::blocks(statement).into_iter().map(count).sum::<usize>()).sum()
}

/// Other values for a literal. `both` asks for both neighbours of a small integer, and for the other truth
/// value. Integers beyond 16 bits are masks and hash constants, where one neighbour says as much as two.
fn literal(value: Literal, both: bool) -> Changes {
    use Literal as L;
    macro_rules! integer {
        ($variant:path, $n:expr) => {{
            let n = $n;
            let more = n.checked_add(1).map(|next| ("+ 1", $variant(next)));
            let less = n.checked_sub(1).map(|last| ("- 1", $variant(last)));
            let small = both && (1..=0xffff).contains(&i128::from(n));
            match more {
                Some(more) if small => [Some(more), less],
                Some(more) => [Some(more), None],
                None => [less, None],
            }
        }};
    }
    macro_rules! float {
        ($variant:path, $x:expr, $one:expr) => {{
            let x = $x;
            [Some(if x == -x { ("→ 1", $variant($one)) } else { ("negated", $variant(-x)) }), None]
        }};
    }
    let values = match value {
        L::F64(x) => float!(L::F64, x, 1.0),
        L::F32(x) => float!(L::F32, x, 1.0),
        L::F16(x) => float!(L::F16, x, half::f16::ONE),
        L::U16(n) => integer!(L::U16, n),
        L::I16(n) => integer!(L::I16, n),
        L::U32(n) => integer!(L::U32, n),
        L::I32(n) => integer!(L::I32, n),
        L::U64(n) => integer!(L::U64, n),
        L::I64(n) => integer!(L::I64, n),
        L::Bool(value) => [Some((if value { "→ false" } else { "→ true" }, L::Bool(!value))), None],
        L::AbstractInt(_) | L::AbstractFloat(_) => [None, None],
    };
    let changes = values.into_iter().flatten();
    changes.map(|(change, value)| (change.to_owned(), Expression::Literal(value))).collect()
}

/// How WGSL writes an operator.
fn symbol(op: BinaryOperator) -> &'static str {
    use BinaryOperator as B;
    match op {
        B::Add => "+",
        B::Subtract => "-",
        B::Multiply => "*",
        B::Divide => "/",
        B::Modulo => "%",
        B::Equal => "==",
        B::NotEqual => "!=",
        B::Less => "<",
        B::LessEqual => "<=",
        B::Greater => ">",
        B::GreaterEqual => ">=",
        B::And => "&",
        B::ExclusiveOr => "^",
        B::InclusiveOr => "|",
        B::LogicalAnd => "&&",
        B::LogicalOr => "||",
        B::ShiftLeft => "<<",
        B::ShiftRight => ">>",
    }
}
