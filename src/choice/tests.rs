//! Whatever the device and the shapes: what is offered can be launched.

use super::*;
use crate::gpu::{Shader, Source, parse, shader};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Mutex;

/// What a kernel needs of a device, by its text.
#[derive(Clone, Copy)]
struct Needs {
    invocations: u32,
    bytes: u32,
    buffers: usize,
}

fn needs(shader: &'static Shader, constants: &[(&'static str, u32)]) -> Needs {
    static KNOWN: Mutex<Option<HashMap<String, Needs>>> = Mutex::new(None);
    let source = Source::File(shader, constants);
    let mut known = KNOWN.lock().unwrap();
    *known.get_or_insert_default().entry(source.key()).or_insert_with(|| {
        let (module, _) = parse(shader.name, &source.text().unwrap()).unwrap();
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let in_space = |wanted: fn(naga::AddressSpace) -> bool| {
            module.global_variables.iter().map(|(_, v)| v).filter(move |v| wanted(v.space))
        };
        Needs {
            invocations: module.entry_points[0].workgroup_size.iter().product(),
            bytes: in_space(|space| space == naga::AddressSpace::WorkGroup)
                .map(|v| layouter[v.ty].to_stride())
                .sum(),
            buffers: in_space(|space| matches!(space, naga::AddressSpace::Storage { .. })).count(),
        }
    })
}

/// That a device can launch each candidate, of the shader that `of` names.
fn launchable<V: Variant>(c: &Capabilities, found: &Candidates<V>, of: impl Fn(&V) -> &'static Shader) {
    let mut names = vec![];
    for one in [found.best].iter().chain(&found.others) {
        let needs = needs(of(one), &one.constants());
        assert!(needs.invocations <= c.invocations, "{one}: {} invocations on {c:?}", needs.invocations);
        assert!(needs.bytes <= c.bytes, "{one}: {} bytes on {c:?}", needs.bytes);
        assert!(needs.buffers <= 8, "{one}: {} buffers", needs.buffers);
        names.push(one.to_string());
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "two candidates share a name: {names:?}");
}

static NAIVE: Shader = shader!("matmul/naive.wgsl");
static REGISTER: Shader = shader!("matmul/register.wgsl");
static ROW: Shader = shader!("matmul/row.wgsl");
static QUADS: Shader = shader!("matmul/quads.wgsl");
static TILED: Shader = shader!("matmul/tiled.wgsl");
static CONVOLUTION: Shader = shader!("conv/tiled.wgsl");
static WEIGHT: Shader = shader!("conv/tiled_weight.wgsl");
static DIRECT: Shader = shader!("conv/forward.wgsl");
static SHARED: [Shader; 2] = [shader!("conv/subgroup.wgsl"), shader!("conv/subgroup_weight.wgsl")];
static SOFTMAX: Shader = shader!("softmax/softmax.wgsl");
static REDUCE: Shader = shader!("reduce/reduce.wgsl");
static NORM: [Shader; 2] = [shader!("norm/forward.wgsl"), shader!("norm/backward.wgsl")];
static BATCH_NORM: [Shader; 2] = [shader!("batch_norm/forward.wgsl"), shader!("batch_norm/backward.wgsl")];
static RECURRENT: [Shader; 2] = [shader!("recurrent/forward.wgsl"), shader!("recurrent/backward.wgsl")];
static ATTENTION: [Shader; 6] = [
    shader!("attention/forward.wgsl"),
    shader!("attention/gradient.wgsl"),
    shader!("attention/tiled_forward.wgsl"),
    shader!("attention/tiled_gradient.wgsl"),
    shader!("attention/subgroup.wgsl"),
    shader!("attention/subgroup_gradient.wgsl"),
];

/// From the least that Vulkan requires of any device, and WebGPU's defaults, to more than there is.
fn devices() -> impl Strategy<Value = Capabilities> {
    let kinds = prop::sample::select(vec![Kind::Software, Kind::Integrated, Kind::Discrete]);
    let subgroups =
        prop::sample::select(vec![None, Some(4), Some(8), Some(16), Some(32), Some(64), Some(128)]);
    let invocations = prop::sample::select(vec![128, 256, 512, 1024]);
    let bytes = prop::sample::select(vec![16 << 10, 32 << 10, 48 << 10, 64 << 10]);
    (kinds, subgroups, invocations, bytes).prop_map(|(kind, subgroup, invocations, bytes)| Capabilities {
        kind,
        subgroup,
        bytes,
        invocations,
        turns: if kind == Kind::Software { LLVMPIPE } else { usize::MAX },
    })
}

/// Small extents, none at all among them, extents about those of tiles, and large ones.
fn extent() -> impl Strategy<Value = usize> {
    prop_oneof![1..10usize, (0..12u32, 0..3usize).prop_map(|(k, d)| (1 << k) + d - 1), 1..20_000usize]
}

/// A group number and its limit.
const LIMIT: usize = 65_535;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_offered_can_be_launched(
        c in devices(), batch in extent(), m in extent(), k in extent(), n in extent(), units in 1..5usize,
    ) {
        let products = product(&c, batch, [m, k, n], n.is_multiple_of(4));
        for one in [products.best].iter().chain(&products.others) {
            if let Product::Tiled { pieces, .. } | Product::Row { pieces, .. } = one {
                prop_assert!(1 <= *pieces && *pieces as usize <= k.max(1), "{pieces} pieces of {k} terms");
            }
            if let Product::Quads { lanes, .. } = one {
                prop_assert_eq!(Some(*lanes), c.subgroup);
            }
            let (work, outputs) = (one.work(batch, m, n), batch * m * n);
            prop_assert!(work.min(1) == outputs.min(1) && work <= outputs * k.max(1));
        }
        launchable(&c, &products, |one| match one {
            Product::Naive => &NAIVE,
            Product::Quads { .. } => &QUADS,
            Product::Register { .. } => &REGISTER,
            Product::Row { .. } => &ROW,
            Product::Tiled { .. } => &TILED,
        });
        for (tiled, shared) in [&CONVOLUTION, &WEIGHT].into_iter().zip(&SHARED) {
            launchable(&c, &convolution(&c, m, k % 4 == 0), |one| match one {
                Convolution::Register => &DIRECT,
                Convolution::Subgroup { .. } => shared,
                Convolution::Tiled { .. } => tiled,
            });
        }
        launchable(&c, &rows(&c, m, k, n), |_| &SOFTMAX);
        launchable(&c, &sums(&c, m, k, n), |_| &REDUCE);
        for each in 0..2 {
            launchable(&c, &norm(&c, m, k), |_| &NORM[each]);
            launchable(&c, &Candidates::only(channel(&c, k)), |_| &BATCH_NORM[each]);
            launchable(&c, &recurrent(&c, batch, units), |_| &RECURRENT[each]);
            let which = match attention(&c, k.is_multiple_of(4)) {
                Attention::Lanes => each,
                Attention::Tiled => each + 2,
                Attention::Subgroup => each + 4,
            };
            let needs = needs(&ATTENTION[which], &[]);
            prop_assert!(needs.invocations <= c.invocations && needs.bytes <= c.bytes && needs.buffers <= 8);
        }
        prop_assert!((1..=k.max(1)).contains(&pieces(&c, m, k)));
        let (turns, chunks) = (m * n, chunks(&c, k, m * n));
        prop_assert!((1..=turns.max(1)).contains(&chunks) && turns.div_ceil(chunks) <= 1 << 15);
    }

    #[test]
    fn folded_groups_are_enough_and_within_the_limit(groups in prop_oneof![0..200_000usize, 0..LIMIT * LIMIT]) {
        let [x, y, z] = fold(groups, LIMIT).map(|extent| extent as usize);
        prop_assert!(x <= LIMIT && y <= LIMIT && z == 1);
        // Enough, and no more than a row too many.
        prop_assert!(x * y >= groups && x * y - groups < y.max(1) + usize::from(groups == 0));
    }
}
