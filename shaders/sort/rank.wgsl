// rank   order[o, b + r, i] = t for the t of block b whose rank in it, by x[o,t,i] and then by t, is r
// Reference  src/ops/sort.rs
// Layout     x: f32 or i32 [outer, terms, inner]; order: i32 likewise; dense. A block is up to BLOCK
//            neighbours along the axis
// Bindings   0 params uniform · 1 x read · 2 order read_write
// Mapping    one invocation an element counts those of its block that come before it; more than 65535
//            groups fold into grid y
// Numerics   integers whose order is that of the numbers, −0 with +0: exact, and total even for NaN
// Barriers   none

const BLOCK: u32 = 32u;
const INTEGER: bool = false;
const DESCENDING: bool = false;
const GROUP: u32 = 64u;

struct Params {
    count: u32, // elements of x
    terms: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> order: array<i32>;

// A number whose unsigned order is the wanted one.
fn key(word: u32) -> u32 {
    var rising = word ^ 0x80000000u;
    if !INTEGER {
        if word > 0x80000000u {
            rising = ~word;
        } else if word == 0x80000000u {
            rising = word;
        }
    }
    if DESCENDING {
        return ~rising;
    }
    return rising;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let own = (group.y * groups.x + group.x) * GROUP + local;
    if own >= params.count {
        return;
    }
    let row = own / params.inner;
    let t = row % params.terms;
    let line = row / params.terms * params.terms * params.inner + own % params.inner;
    let first = t / BLOCK * BLOCK;
    let end = min(first + BLOCK, params.terms);
    let mine = key(x[own]);
    var rank = first;
    for (var other = first; other < end; other++) {
        let theirs = key(x[line + other * params.inner]);
        if theirs < mine || (theirs == mine && other < t) {
            rank++;
        }
    }
    order[line + rank * params.inner] = i32(t);
}
