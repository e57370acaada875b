use std::collections::HashSet;

use naga::back::wgsl::{WriterFlags, write_string};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{Module, Statement};

use super::{Mutant, apply, fuelled, mutants, walk};

/// c = a × b, row-major, tiled through workgroup memory.
const MATMUL: &str = "
struct Params { m: u32, n: u32, k: u32, scale: f32 }
const TILE: u32 = 16u;
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
var<workgroup> tile_a: array<array<f32, TILE>, TILE>;
var<workgroup> tile_b: array<array<f32, TILE>, TILE>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {
    let row = gid.y;
    let col = gid.x;
    var acc = 0.0;
    for (var k0 = 0u; k0 < params.k; k0 += TILE) {
        tile_a[lid.y][lid.x] = 0.0; // zero padding
        if (row < params.m && k0 + lid.x < params.k) {
            tile_a[lid.y][lid.x] = a[row * params.k + k0 + lid.x];
        }
        tile_b[lid.y][lid.x] = 0.0;
        if (k0 + lid.y < params.k && col < params.n) {
            tile_b[lid.y][lid.x] = b[(k0 + lid.y) * params.n + col];
        }
        workgroupBarrier();
        for (var i = 0u; i < TILE; i++) {
            acc = fma(tile_a[lid.y][i], tile_b[i][lid.x], acc);
        }
        workgroupBarrier();
    }
    if (row >= params.m || col >= params.n) {
        return;
    }
    c[row * params.n + col] = max(params.scale * acc, 0.0);
}
";

/// One of everything else that has a mutation, and dead code that must have none.
const ZOO: &str = "
enable f16;
const VARIANT = 1u;
const WIDE: bool = false;
const FLAG: bool = false;
struct Params { n: u32, eps: f32, shift: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> bits: array<u32>;
var<workgroup> shared_n: u32;

fn unreachable_helper(x: f32) -> f32 { return x + 101.0; }
fn activate(x: f32) -> f32 {
    switch VARIANT {
        case 0u: { return x - 102.0; }
        case 1u: { return sqrt(abs(x)) + exp(-x); }
        default: { return x - 103.0; }
    }
}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let unused = gid.x * 104u;
    if (lane == 0u) { shared_n = params.n; }
    let n = workgroupUniformLoad(&shared_n);
    var v = vec4<f32>(1.0, 2.0, 3.0, 4.0) * params.eps;
    if (WIDE) { v = v + 105.0; }
    v = select(v.wzyx, clamp(v, vec4(-1.0), vec4(1.0)), v < vec4(2.0));
    v += select(vec4(106.0), v, !FLAG);
    var word = (gid.x ^ 0xD2511F53u) << 3u;
    word = (word & 255u) | (word >> params.shift);
    let h = f16(v.x) * 2.0h;
    var left = 10;
    loop {
        left -= 1;
        continuing { break if left <= 0; }
    }
    var turns = 0u;
    while (turns < n) {
        turns += 1u;
        if (turns % 2u == 1u) { continue; }
        for (var j = 0u; j < 3u; j++) { word += j; }
    }
    let total = subgroupAdd(dot(v, v.yzwx)) + subgroupShuffleXor(v.y, 1u) + subgroupInclusiveAdd(v.z);
    storageBarrier();
    y[gid.x] = activate(total) / f32(n) + f32(h) + mix(v.x, v.y, 0.5);
    bits[gid.x] = ~word + bitcast<u32>(left) % 7u;
}
";

fn parse(source: &str) -> Module {
    naga::front::wgsl::parse_str(source).unwrap_or_else(|error| panic!("{}", error.emit_to_string(source)))
}

/// The module as WGSL text; a panic if it does not validate.
fn text(module: &Module) -> String {
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    let info = validator.validate(module).unwrap_or_else(|error| panic!("{error:?}"));
    write_string(module, &info, WriterFlags::empty()).unwrap()
}

fn keys(mutants: &[Mutant]) -> HashSet<&str> {
    mutants.iter().map(Mutant::key).collect()
}

fn assert_sound(source: &str) -> Vec<Mutant> {
    let module = parse(source);
    let found = mutants(&module, source);
    assert_eq!(keys(&found).len(), found.len(), "keys are not distinct");
    let original = text(&fuelled(&module, 1000));
    let mut texts = HashSet::new();
    for mutant in &found {
        let changed = text(&apply(&module, mutant, 1000));
        assert_ne!(changed, original, "{} changes nothing", mutant.describe());
        assert!(texts.insert(changed), "{} repeats another mutant", mutant.describe());
        assert!(mutant.line() > 0, "{} has no line", mutant.describe());
        let line = source.lines().nth(mutant.line() as usize - 1).unwrap().split("//").next().unwrap().trim();
        assert!(mutant.key().starts_with(&format!("{line}#")), "{} is not on {line}", mutant.key());
    }
    found
}

#[test]
fn every_matmul_mutant_validates_differs_and_has_its_own_key() {
    let found = assert_sound(MATMUL);
    assert!(found.len() > 60, "{} mutants", found.len());
}

#[test]
fn every_zoo_mutant_validates_differs_and_has_its_own_key() {
    let found = assert_sound(ZOO);
    assert!(found.len() > 60, "{} mutants", found.len());
}

#[test]
fn matmul_mutants_include_the_classic_mistakes() {
    let module = parse(MATMUL);
    let found = mutants(&module, MATMUL);
    let keys = keys(&found);
    for key in [
        "var acc = 0.0;#1 `0.0` → 1",
        "for (var k0 = 0u; k0 < params.k; k0 += TILE) {#1 `k0 < params.k` < → <=",
        "for (var k0 = 0u; k0 < params.k; k0 += TILE) {#1 `TILE` + 1",
        "tile_a[lid.y][lid.x] = 0.0;#1 `lid.y` .y → .z",
        "if (row < params.m && k0 + lid.x < params.k) {#1 `row < params.m && k0 + lid.x < params.k` && → ||",
        "if (row < params.m && k0 + lid.x < params.k) {#1 `row < params.m && k0 + lid.x < params.k` as a condition → true",
        "if (row >= params.m || col >= params.n) {#1 `row >= params.m || col >= params.n` right of || dropped",
        "tile_a[lid.y][lid.x] = a[row * params.k + k0 + lid.x];#1 `params.k` .k → .m",
        "workgroupBarrier();#1 `workgroupBarrier()` removed",
        "workgroupBarrier();#2 `workgroupBarrier()` removed",
        "for (var i = 0u; i < TILE; i++) {#1 `i++` inside: + 1",
        "acc = fma(tile_a[lid.y][i], tile_b[i][lid.x], acc);#1 `fma(tile_a[lid.y][i], tile_b[i][lid.x], acc)` addend dropped",
        "c[row * params.n + col] = max(params.scale * acc, 0.0);#1 `max(params.scale * acc, 0.0)` max → min",
    ] {
        assert!(keys.contains(key), "no mutant {key}");
    }
}

#[test]
fn zoo_mutants_include_every_kind_of_statement() {
    let module = parse(ZOO);
    let found = mutants(&module, ZOO);
    for change in [
        "without barriers",
        "`v.wzyx` .wzyx → .zyxw",
        "upper bound dropped",
        "arms swapped",
        "scalar factor dropped",
        "sqrt → inverseSqrt",
        "abs removed",
        "exp → exp2",
        "- removed",
        "~ removed",
        "^ → &",
        "<< → >>",
        "`2.0h` negated",
        "add → max",
        "inclusive → exclusive",
        "xor → down",
        "`storageBarrier()` removed",
        "<= → >=",
    ] {
        assert!(found.iter().any(|mutant| mutant.describe().ends_with(change)), "no mutant {change}");
    }
}

#[test]
fn dead_code_has_no_mutants() {
    let module = parse(ZOO);
    for mutant in mutants(&module, ZOO) {
        let change = mutant.describe();
        for dead in ["101.0", "102.0", "103.0", "104u", "105.0", "WIDE", "`VARIANT`"] {
            assert!(!change.contains(dead), "{change}");
        }
        // The snippet of the whole sum contains these, but none of them is changed by itself.
        for dead in ["`106.0`", "`!FLAG`", "`FLAG`"] {
            assert!(!change.contains(dead), "{change}");
        }
    }
}

#[test]
fn short_circuit_mutants_read_as_the_other_operator() {
    let source = "@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(1) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < 5u OP id.y < 7u) { y[0] = 1u; }
}";
    for (op, other) in [("&&", "||"), ("||", "&&")] {
        let source = source.replace("OP", op);
        let module = parse(&source);
        let swap = format!("{op} → {other}");
        let found = mutants(&module, &source);
        let mutant = found.iter().find(|mutant| mutant.describe().ends_with(&swap)).unwrap();
        let changed = text(&apply(&module, mutant, 10));
        let words: String = changed.split_whitespace().collect();
        // a || b = if a { true } else { b };   a && b = if !a { false } else { b }
        let shortcut = if op == "&&" { "{local=true;}else{" } else { "{local=false;}else{" };
        assert!(words.contains(shortcut), "{changed}");
        assert_eq!(words.contains("!("), op == "||", "{changed}");
    }
}

#[test]
fn keys_survive_line_moves_and_comments() {
    let moved =
        MATMUL.replace("    let row", "    // A remark.\n\n    let row").replace("zero padding", "padding");
    let before = mutants(&parse(MATMUL), MATMUL);
    let after = mutants(&parse(&moved), &moved);
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.key(), after.key());
        assert!(after.line() == before.line() || after.line() == before.line() + 2);
    }
}

#[test]
fn a_source_that_does_not_belong_to_the_module_does_no_harm() {
    let module = parse(MATMUL);
    for other in ["", "é", "a = b; // ééé\n(((", ZOO] {
        let found = mutants(&module, other);
        assert_eq!(keys(&found).len(), found.len());
    }
    let foreign = mutants(&parse(ZOO), ZOO);
    for mutant in &foreign {
        // Whatever comes of it, it comes without a panic.
        let _ = apply(&module, mutant, 10);
        let _ = apply(&Module::default(), mutant, 10);
    }
}

#[test]
fn an_invalid_module_has_no_mutants() {
    let mut module = parse(MATMUL);
    module.entry_points[0].workgroup_size = [0, 0, 0];
    assert!(mutants(&module, MATMUL).is_empty());
}

#[test]
fn fuel_bounds_every_loop() {
    fn loops(block: &naga::Block) -> (usize, usize) {
        let mut found = (0, 0);
        for statement in block {
            if let Statement::Loop { break_if, .. } = statement {
                found = (found.0 + 1, found.1 + usize::from(break_if.is_some()));
            }
            for inner in walk::blocks(statement) {
                let (all, bounded) = loops(inner);
                found = (found.0 + all, found.1 + bounded);
            }
        }
        found
    }
    for (source, expected, stores) in [(MATMUL, 2, 1), (ZOO, 3, 2)] {
        let bounded = fuelled(&parse(source), 77);
        assert_eq!(loops(&bounded.entry_points[0].function.body), (expected, expected));
        let text = text(&bounded);
        assert_eq!(text.matches("loop_turns").count(), 1 + 2 * expected + stores, "{text}");
        assert_eq!(text.matches(">= 77u").count(), expected, "{text}");
        assert_eq!(text.matches("< 77u").count(), stores, "{text}");
    }
}

#[test]
fn fuel_keeps_the_condition_a_loop_already_had() {
    let bounded = text(&fuelled(&parse(ZOO), 77));
    let breaks: Vec<_> = bounded.lines().filter(|line| line.contains("break if")).collect();
    assert_eq!(breaks.iter().filter(|line| line.contains("||")).count(), 1, "{breaks:?}");
}

#[test]
fn a_module_without_loops_needs_no_fuel() {
    let source = "@compute @workgroup_size(1) fn main() {}";
    let module = parse(source);
    assert_eq!(format!("{:?}", fuelled(&module, 5)), format!("{module:?}"));
    assert!(mutants(&module, source).is_empty());
}
