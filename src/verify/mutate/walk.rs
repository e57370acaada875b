//! Finding one's way through naga's IR: the blocks of a statement, the operands of an expression, and what
//! is alive.
//!
//! The matches name every variant, so that a new version of naga cannot add an operand we overlook.

use std::collections::HashSet;

use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{
    AtomicFunction, Block, Expression, Function, GatherMode, Handle, ImageQuery, Literal, Module,
    RayPipelineFunction, RayQueryFunction, SampleLevel, Span, Statement, SwitchValue,
};

/// A function of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    EntryPoint(usize),
    Function(Handle<Function>),
}

impl Place {
    pub(super) fn function(self, module: &Module) -> Option<&Function> {
        match self {
            Place::EntryPoint(index) => Some(&module.entry_points.get(index)?.function),
            Place::Function(handle) => module.functions.try_get(handle).ok(),
        }
    }

    pub(super) fn function_mut(self, module: &mut Module) -> Option<&mut Function> {
        match self {
            Place::EntryPoint(index) => Some(&mut module.entry_points.get_mut(index)?.function),
            Place::Function(handle) => {
                module.functions.check_contains_handle(handle).ok()?;
                Some(module.functions.get_mut(handle))
            }
        }
    }

    /// What the validator found out about this function of the module that `info` describes.
    pub(super) fn info(self, info: &ModuleInfo) -> &FunctionInfo {
        match self {
            Place::EntryPoint(index) => info.get_entry_point(index),
            Place::Function(handle) => &info[handle],
        }
    }
}

/// The functions that an entry point reaches through live calls, callees first, as in the source.
pub(super) fn reachable(module: &Module) -> Vec<Place> {
    let mut called = HashSet::new();
    let mut pending: Vec<Place> = (0..module.entry_points.len()).map(Place::EntryPoint).collect();
    let entries = pending.clone();
    while let Some(function) = pending.pop().and_then(|place| place.function(module)) {
        for_each_live(module, function, &mut |_, statement, _| {
            if let Statement::Call { function, .. } = *statement
                && called.insert(function)
            {
                pending.push(Place::Function(function));
            }
        });
    }
    let helpers = module.functions.iter().map(|(handle, _)| handle).filter(|handle| called.contains(handle));
    helpers.map(Place::Function).chain(entries).collect()
}

/// The value of an expression that is a literal or names a constant.
pub(super) fn constant(module: &Module, function: &Function, handle: Handle<Expression>) -> Option<Literal> {
    let literal = match *function.expressions.try_get(handle).ok()? {
        Expression::Literal(literal) => return Some(literal),
        Expression::Constant(constant) => module.constants.try_get(constant).ok()?.init,
        _ => return None,
    };
    match *module.global_expressions.try_get(literal).ok()? {
        Expression::Literal(literal) => Some(literal),
        _ => None,
    }
}

/// Whether an expression is constantly true, constantly false, or neither.
pub(super) fn constant_bool(module: &Module, function: &Function, at: Handle<Expression>) -> Option<bool> {
    match constant(module, function, at) {
        Some(Literal::Bool(value)) => Some(value),
        _ => None,
    }
}

/// Visits the statements of `function` in preorder with their number and span, leaving out the arms that a
/// constant condition never takes. The numbers count those too.
pub(super) fn for_each_live(
    module: &Module,
    function: &Function,
    visit: &mut dyn FnMut(usize, &Statement, Span),
) {
    struct Walk<'a> {
        module: &'a Module,
        function: &'a Function,
        number: usize,
    }
    impl Walk<'_> {
        fn block(&mut self, block: &Block, live: bool, visit: &mut dyn FnMut(usize, &Statement, Span)) {
            for (statement, &span) in block.span_iter() {
                if live {
                    visit(self.number, statement, span);
                }
                self.number += 1;
                let taken = taken_arms(self.module, self.function, statement);
                for (index, inner) in blocks(statement).into_iter().enumerate() {
                    let taken = taken.as_ref().is_none_or(|taken| taken.contains(&index));
                    self.block(inner, live && taken, visit);
                }
            }
        }
    }
    Walk { module, function, number: 0 }.block(&function.body, true, visit);
}

/// The arms of `statement`, as indices into [`blocks`], that its constant condition takes; nothing if the
/// condition is not constant.
fn taken_arms(module: &Module, function: &Function, statement: &Statement) -> Option<std::ops::Range<usize>> {
    match *statement {
        Statement::If { condition, .. } => {
            let arm = usize::from(!constant_bool(module, function, condition)?);
            Some(arm..arm + 1)
        }
        Statement::Switch { selector, ref cases } => {
            let value = match constant(module, function, selector)? {
                Literal::U32(value) => SwitchValue::U32(value),
                Literal::I32(value) => SwitchValue::I32(value),
                _ => return None,
            };
            let find = |value| cases.iter().position(|case| case.value == value);
            let first = find(value).or_else(|| find(SwitchValue::Default))?;
            let more = cases[first..].iter().take_while(|case| case.fall_through).count();
            Some(first..first + more + 1)
        }
        _ => None,
    }
}

/// The blocks inside a statement, in order.
pub(super) fn blocks(statement: &Statement) -> Vec<&Block> {
    match statement {
        Statement::Block(block) => vec![block],
        Statement::If { accept, reject, .. } => vec![accept, reject],
        Statement::Switch { cases, .. } => cases.iter().map(|case| &case.body).collect(),
        Statement::Loop { body, continuing, .. } => vec![body, continuing],
        _ => Vec::new(),
    }
}

/// [`blocks`], to be changed.
pub(super) fn blocks_mut(statement: &mut Statement) -> Vec<&mut Block> {
    match statement {
        Statement::Block(block) => vec![block],
        Statement::If { accept, reject, .. } => vec![accept, reject],
        Statement::Switch { cases, .. } => cases.iter_mut().map(|case| &mut case.body).collect(),
        Statement::Loop { body, continuing, .. } => vec![body, continuing],
        _ => Vec::new(),
    }
}

/// The statement of `block` with this number in preorder; else `number` is less by the statements passed.
pub(super) fn statement_mut<'a>(block: &'a mut Block, number: &mut usize) -> Option<&'a mut Statement> {
    for statement in block.iter_mut() {
        if *number == 0 {
            return Some(statement);
        }
        *number -= 1;
        for inner in blocks_mut(statement) {
            if let Some(found) = statement_mut(inner, number) {
                return Some(found);
            }
        }
    }
    None
}

/// The expressions of `function` that a live statement uses, directly or through others.
///
/// An `Emit` alone keeps nothing alive: `let unused = a + b;` is emitted too.
pub(super) fn live_expressions(module: &Module, function: &Function) -> HashSet<Handle<Expression>> {
    let mut pending = Vec::new();
    for_each_live(module, function, &mut |_, statement, _| {
        statement_operands(statement, &mut |operand| pending.push(operand));
    });
    let mut live = HashSet::new();
    while let Some(handle) = pending.pop() {
        let Ok(expression) = function.expressions.try_get(handle) else { continue };
        if !live.insert(handle) {
            continue;
        }
        match *expression {
            Expression::LocalVariable(variable) => {
                pending.extend(function.local_variables.try_get(variable).ok().and_then(|local| local.init));
            }
            Expression::Select { condition, accept, reject } => {
                match constant_bool(module, function, condition) {
                    Some(value) => pending.push(if value { accept } else { reject }),
                    None => pending.extend([condition, accept, reject]),
                }
            }
            _ => expression_operands(expression, &mut |operand| pending.push(operand)),
        }
    }
    live
}

/// Visits the expressions that `expression` refers to.
pub(super) fn expression_operands(expression: &Expression, visit: &mut dyn FnMut(Handle<Expression>)) {
    use Expression as E;
    match *expression {
        E::Literal(_)
        | E::Constant(_)
        | E::Override(_)
        | E::ZeroValue(_)
        | E::FunctionArgument(_)
        | E::GlobalVariable(_)
        | E::LocalVariable(_)
        | E::CallResult(_)
        | E::AtomicResult { .. }
        | E::WorkGroupUniformLoadResult { .. }
        | E::RayQueryProceedResult
        | E::SubgroupBallotResult
        | E::SubgroupOperationResult { .. } => {}
        E::Compose { ref components, .. } => components.iter().copied().for_each(visit),
        E::Access { base, index } => [base, index].into_iter().for_each(visit),
        E::AccessIndex { base: operand, .. }
        | E::Splat { value: operand, .. }
        | E::Swizzle { vector: operand, .. }
        | E::Load { pointer: operand }
        | E::Unary { expr: operand, .. }
        | E::Derivative { expr: operand, .. }
        | E::Relational { argument: operand, .. }
        | E::As { expr: operand, .. }
        | E::ArrayLength(operand)
        | E::RayQueryVertexPositions { query: operand, .. }
        | E::RayQueryGetIntersection { query: operand, .. } => visit(operand),
        E::ImageSample { image, sampler, coordinate, array_index, offset, level, depth_ref, .. } => {
            [image, sampler, coordinate].into_iter().for_each(&mut *visit);
            [array_index, offset, depth_ref].into_iter().flatten().for_each(&mut *visit);
            match level {
                SampleLevel::Auto | SampleLevel::Zero => {}
                SampleLevel::Exact(level) | SampleLevel::Bias(level) => visit(level),
                SampleLevel::Gradient { x, y } => [x, y].into_iter().for_each(visit),
            }
        }
        E::ImageLoad { image, coordinate, array_index, sample, level } => {
            [Some(image), Some(coordinate), array_index, sample, level].into_iter().flatten().for_each(visit);
        }
        E::ImageQuery { image, query } => {
            visit(image);
            match query {
                ImageQuery::Size { level } => level.into_iter().for_each(visit),
                ImageQuery::NumLevels | ImageQuery::NumLayers | ImageQuery::NumSamples => {}
            }
        }
        E::Binary { left, right, .. } => [left, right].into_iter().for_each(visit),
        E::Select { condition, accept, reject } => [condition, accept, reject].into_iter().for_each(visit),
        E::Math { arg, arg1, arg2, arg3, .. } => {
            [Some(arg), arg1, arg2, arg3].into_iter().flatten().for_each(visit);
        }
        E::CooperativeLoad { ref data, .. } => [data.pointer, data.stride].into_iter().for_each(visit),
        E::CooperativeMultiplyAdd { a, b, c } => [a, b, c].into_iter().for_each(visit),
    }
}

/// Visits the expressions that `statement` itself uses; results and emitted ranges are not uses.
pub(super) fn statement_operands(statement: &Statement, visit: &mut dyn FnMut(Handle<Expression>)) {
    use Statement as S;
    match *statement {
        S::Emit(_)
        | S::Block(_)
        | S::Break
        | S::Continue
        | S::Kill
        | S::ControlBarrier(_)
        | S::MemoryBarrier(_) => {}
        S::If { condition: operand, .. } | S::Switch { selector: operand, .. } => visit(operand),
        S::Loop { break_if: operand, .. } | S::Return { value: operand } => {
            operand.into_iter().for_each(visit)
        }
        S::Store { pointer, value } => [pointer, value].into_iter().for_each(visit),
        S::ImageStore { image, coordinate, array_index, value } => {
            [Some(image), Some(coordinate), array_index, Some(value)].into_iter().flatten().for_each(visit);
        }
        S::Atomic { pointer, fun, value, .. } => {
            [pointer, value].into_iter().for_each(&mut *visit);
            if let AtomicFunction::Exchange { compare } = fun {
                compare.into_iter().for_each(visit);
            }
        }
        S::ImageAtomic { image, coordinate, array_index, value, .. } => {
            [Some(image), Some(coordinate), array_index, Some(value)].into_iter().flatten().for_each(visit);
        }
        S::WorkGroupUniformLoad { pointer, .. } => visit(pointer),
        S::Call { ref arguments, .. } => arguments.iter().copied().for_each(visit),
        S::RayQuery { query, ref fun } => {
            visit(query);
            match *fun {
                RayQueryFunction::Initialize { acceleration_structure, descriptor } => {
                    [acceleration_structure, descriptor].into_iter().for_each(visit);
                }
                RayQueryFunction::GenerateIntersection { hit_t } => visit(hit_t),
                RayQueryFunction::Proceed { .. }
                | RayQueryFunction::ConfirmIntersection
                | RayQueryFunction::Terminate => {}
            }
        }
        S::RayPipelineFunction(RayPipelineFunction::TraceRay {
            acceleration_structure,
            descriptor,
            payload,
        }) => [acceleration_structure, descriptor, payload].into_iter().for_each(visit),
        S::SubgroupBallot { predicate, .. } => predicate.into_iter().for_each(visit),
        S::SubgroupGather { mode, argument, .. } => {
            visit(argument);
            match mode {
                GatherMode::BroadcastFirst | GatherMode::QuadSwap(_) => {}
                GatherMode::Broadcast(lane)
                | GatherMode::Shuffle(lane)
                | GatherMode::ShuffleDown(lane)
                | GatherMode::ShuffleUp(lane)
                | GatherMode::ShuffleXor(lane)
                | GatherMode::QuadBroadcast(lane) => visit(lane),
            }
        }
        S::SubgroupCollectiveOperation { argument, .. } => visit(argument),
        S::CooperativeStore { target, ref data } => {
            [target, data.pointer, data.stride].into_iter().for_each(visit);
        }
    }
}
