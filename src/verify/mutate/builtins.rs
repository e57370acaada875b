//! The mistakes that built-in functions invite: the sibling's name, arguments the wrong way round, a bound
//! forgotten.

use naga::{
    BinaryOperator, CollectiveOperation, Expression, GatherMode, Handle, MathFunction, Statement,
    SubgroupOperation,
};

use super::operators::{Changes, Site};

impl Site<'_> {
    /// What may stand in the place of a call of a mathematical built-in.
    pub(super) fn math(
        &self,
        fun: MathFunction,
        arg: Handle<Expression>,
        [arg1, arg2, arg3]: [Option<Handle<Expression>>; 3],
    ) -> Changes {
        use MathFunction as M;
        let call = |fun, arg, arg1, arg2| Expression::Math { fun, arg, arg1, arg2, arg3 };
        let renamed =
            |other| vec![(format!("{} → {}", name(fun), name(other)), call(other, arg, arg1, arg2))];
        let removed = || {
            let same = self.identity(arg).into_iter();
            same.map(|same| (format!("{} removed", name(fun)), same)).collect()
        };
        let swapped = || match arg1 {
            Some(second) => vec![("arguments swapped".to_owned(), call(fun, second, Some(arg), arg2))],
            None => Vec::new(),
        };
        let operation = |change: &str, op, left, right: Option<Handle<Expression>>| {
            right.map(|right| (change.to_owned(), Expression::Binary { op, left, right }))
        };
        match fun {
            M::Min => renamed(M::Max),
            M::Max => renamed(M::Min),
            M::Sqrt => renamed(M::InverseSqrt),
            M::InverseSqrt => renamed(M::Sqrt),
            M::Exp => renamed(M::Exp2),
            M::Exp2 => renamed(M::Exp),
            M::Log => renamed(M::Log2),
            M::Log2 => renamed(M::Log),
            M::Sin => renamed(M::Cos),
            M::Cos => renamed(M::Sin),
            M::Sinh => renamed(M::Cosh),
            M::Cosh => renamed(M::Sinh),
            M::Asin => renamed(M::Acos),
            M::Acos => renamed(M::Asin),
            M::Floor | M::Round | M::Trunc => renamed(M::Ceil),
            M::Ceil => renamed(M::Floor),
            M::Length => Vec::new(),
            M::CountLeadingZeros => renamed(M::CountTrailingZeros),
            M::CountTrailingZeros => renamed(M::CountLeadingZeros),
            M::FirstLeadingBit => renamed(M::FirstTrailingBit),
            M::FirstTrailingBit => renamed(M::FirstLeadingBit),
            M::Pack2x16float => renamed(M::Pack2x16unorm),
            M::Pack2x16unorm => renamed(M::Pack2x16snorm),
            M::Pack2x16snorm => renamed(M::Pack2x16unorm),
            M::Pack4x8unorm => renamed(M::Pack4x8snorm),
            M::Pack4x8snorm => renamed(M::Pack4x8unorm),
            M::Unpack2x16float => renamed(M::Unpack2x16unorm),
            M::Unpack2x16unorm => renamed(M::Unpack2x16snorm),
            M::Unpack2x16snorm => renamed(M::Unpack2x16unorm),
            M::Unpack4x8unorm => renamed(M::Unpack4x8snorm),
            M::Unpack4x8snorm => renamed(M::Unpack4x8unorm),
            M::Abs
            | M::Saturate
            | M::Tan
            | M::Tanh
            | M::Atan
            | M::Asinh
            | M::Acosh
            | M::Atanh
            | M::Radians
            | M::Degrees
            | M::Fract
            | M::Ldexp
            | M::Normalize
            | M::Sign
            | M::Transpose
            | M::Inverse
            | M::QuantizeToF16
            | M::CountOneBits
            | M::ReverseBits => removed(),
            M::Atan2 | M::Cross | M::Mix | M::Step | M::SmoothStep | M::Reflect => swapped(),
            M::Clamp => {
                let lower = ("upper bound dropped".to_owned(), call(M::Max, arg, arg1, None));
                let upper = ("lower bound dropped".to_owned(), call(M::Min, arg, arg2, None));
                vec![lower, upper]
            }
            M::Fma => {
                let product = operation("addend dropped", BinaryOperator::Multiply, arg, arg1);
                let sum = operation("second factor dropped", BinaryOperator::Add, arg, arg2);
                product.into_iter().chain(sum).collect()
            }
            M::Pow => operation("pow → *", BinaryOperator::Multiply, arg, arg1).into_iter().collect(),
            // The first argument takes the place of the second, unless it was there already.
            M::Dot | M::Distance => match arg1 {
                Some(second) if !self.same(arg, second) => {
                    vec![("second argument → first".to_owned(), call(fun, arg, Some(arg), arg2))]
                }
                _ => Vec::new(),
            },
            M::ExtractBits => match (arg1, arg2) {
                (Some(_), Some(_)) => {
                    vec![("offset and count swapped".to_owned(), call(fun, arg, arg2, arg1))]
                }
                _ => Vec::new(),
            },
            M::InsertBits => swapped(),
            M::Modf
            | M::Frexp
            | M::Dot4I8Packed
            | M::Dot4U8Packed
            | M::Outer
            | M::FaceForward
            | M::Refract
            | M::Determinant
            | M::Pack4xI8
            | M::Pack4xU8
            | M::Pack4xI8Clamp
            | M::Pack4xU8Clamp
            | M::Unpack4xI8
            | M::Unpack4xU8 => Vec::new(),
        }
    }
}

/// Other subgroup operations of the same shape.
pub(super) fn subgroup(statement: &Statement) -> Vec<(String, Statement)> {
    use SubgroupOperation as Op;
    let mut found = Vec::new();
    match *statement {
        Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
            let mut push = |change: String, op, collective_op| {
                let with = Statement::SubgroupCollectiveOperation { op, collective_op, argument, result };
                found.push((change, with));
            };
            let other = match op {
                Op::All => Op::Any,
                Op::Any => Op::All,
                Op::Add | Op::Min => Op::Max,
                Op::Mul => Op::Add,
                Op::Max => Op::Min,
                Op::And => Op::Or,
                Op::Or | Op::Xor => Op::And,
            };
            push(format!("{op:?} → {other:?}").to_lowercase(), other, collective_op);
            match collective_op {
                CollectiveOperation::Reduce => {}
                CollectiveOperation::InclusiveScan => {
                    push("inclusive → exclusive".to_owned(), op, CollectiveOperation::ExclusiveScan);
                }
                CollectiveOperation::ExclusiveScan => {
                    push("exclusive → inclusive".to_owned(), op, CollectiveOperation::InclusiveScan);
                }
            }
        }
        Statement::SubgroupGather { mode, argument, result } => {
            let (change, mode) = match mode {
                GatherMode::Broadcast(_) => ("the lane → the first", GatherMode::BroadcastFirst),
                GatherMode::ShuffleDown(lane) => ("down → up", GatherMode::ShuffleUp(lane)),
                GatherMode::ShuffleUp(lane) => ("up → down", GatherMode::ShuffleDown(lane)),
                GatherMode::ShuffleXor(lane) => ("xor → down", GatherMode::ShuffleDown(lane)),
                GatherMode::Shuffle(lane) => ("lane → lane xor", GatherMode::ShuffleXor(lane)),
                GatherMode::BroadcastFirst | GatherMode::QuadBroadcast(_) | GatherMode::QuadSwap(_) => {
                    return found;
                }
            };
            found.push((change.to_owned(), Statement::SubgroupGather { mode, argument, result }));
        }
        _ => {}
    }
    found
}

/// How WGSL writes the name of a built-in.
fn name(fun: MathFunction) -> String {
    let mut name = format!("{fun:?}");
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    name
}
