// merge   neighbouring runs of `width` sorted elements become one: merged holds the order of both
// Reference  src/ops/sort.rs
// Layout     x: f32 or i32 [outer, terms, inner]; order, merged: i32 likewise, places in x along the axis; dense
// Bindings   0 params uniform · 1 x read · 2 order read · 3 merged read_write
// Mapping    one invocation an element: it comes as many places behind its run's start as it stands there,
//            and as many more as elements of the other run come before it. More than 65535 groups fold
//            into grid y
// Numerics   integers whose order is that of the numbers, −0 with +0: exact, and total even for NaN. Of
//            equal elements those of the left run come first
// Barriers   none

const INTEGER: bool = false;
const DESCENDING: bool = false;
const GROUP: u32 = 64u;

struct Params {
    count: u32, // elements of x
    terms: u32,
    inner: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<i32>;
@group(0) @binding(3) var<storage, read_write> merged: array<i32>;

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
    let left = t / (2u * params.width) * (2u * params.width);
    let right = min(left + params.width, params.terms);
    let in_left = t < right;
    let mine = key(x[line + u32(order[own]) * params.inner]);
    // The other run, and in it the first element that does not come before this one.
    let first = select(left, right, in_left);
    var low = first;
    var high = select(right, min(right + params.width, params.terms), in_left);
    while low < high {
        let middle = (low + high) / 2u;
        let theirs = key(x[line + u32(order[line + middle * params.inner]) * params.inner]);
        if theirs < mine || (theirs == mine && !in_left) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    let place = t - select(right, left, in_left) + left + low - first;
    merged[line + place * params.inner] = order[own];
}
