// tiled_gradient   the gradients of attention as in gradient.wgsl, one of the three, from tiles in workgroup memory:
//            with p[i,j] = exp(s[i,j] − lse[i]), s[i,j] = scale·q[i]·k[j] + bias[i,j] for j open to i, else 0, and
//            ds[i,j] = p[i,j]·(z[i,j]·dy[i]·v[j] − delta[i])·scale, z[i,j] = 0 or params.kept at random:
//            dq[i] = Σj ds[i,j]·k[j], or, KEYS, dk[j] = Σi ds[i,j]·q[i], or, KEYS and VALUES,
//            dv[j] = Σi z[i,j]·p[i,j]·dy[i]
// Reference  src/ops/attention/backward.rs
// Layout     own_a, own_b: f32 [own entries, own, depth and width], what gradients are computed for: q and dy,
//            or k and v; other_a, other_b: what is summed over: k and v, or q and dy;
//            bias: f32 with strides, that of an axis it is broadcast along being zero;
//            saved: f32 [2, entries, queries], lse and delta = Σ dy·y; gradient: f32 like own_a or, VALUES, own_b
// Bindings   0 params uniform · 1 own_a read · 2 other_a read · 3 own_b read · 4 other_b read · 5 bias read ·
//            6 saved read · 7 gradient read_write
// Mapping    workgroup = 32 queries or keys of one entry or, for keys, one head of keys, and 64 columns of the
//            gradient; invocation = 4 of its own × 2 others, then 4 × 4 outputs; others go by in blocks of 32. More
//            than 65535 groups fold into grid y
// Tiles      16 × 8 invocations; products from 8 features at a time and outputs from 8 others at a time in
//            workgroup memory, four to a word, a line of words longer than what it holds, so that lanes write to
//            different banks
// Numerics   f32; each output sums its terms in order
// Barriers   two for each 8 features or others; a whole group leaves or stays together

const BIAS: bool = false;
const DROPOUT: bool = false;
const KEYS: bool = false;
const VALUES: bool = false;

// Every score above this is one of an open key.
const LOWEST: f32 = -3e38;

struct Params {
    queries: u32,
    keys: u32,
    depth: u32,
    width: u32,
    entries: u32, // batch · heads
    heads: u32,
    per_group: u32, // heads that share a head of keys and values
    offset: u32, // the position of the first query among the keys
    left: u32, // how far a query sees before its position
    right: u32, // and behind
    scale: f32,
    below: u32, // what a kept weight's random number is, of 2^24
    kept: f32,
    bias_strides: vec4<u32>, // of batch, head, query and key
    bias_dims: vec4<u32>,
    seed: vec2<u32>, // low word, high word
    stream: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> own_a: array<f32>;
@group(0) @binding(2) var<storage, read> other_a: array<f32>;
@group(0) @binding(3) var<storage, read> own_b: array<f32>;
@group(0) @binding(4) var<storage, read> other_b: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> saved: array<f32>;
@group(0) @binding(7) var<storage, read_write> gradient: array<f32>;

const NEAR: u32 = 9u; // words of a line: eight fours of one's own, and one between lines
const FAR: u32 = 17u; // eight fours of others, or sixteen of columns

var<workgroup> near: array<vec4<f32>, 8u * NEAR>; // 8 features of one's own
var<workgroup> far: array<vec4<f32>, 8u * FAR>; // 8 features of the others; then 8 others' vectors
var<workgroup> weights: array<vec4<f32>, 32u * NEAR>; // p, then ds or z·p, others by one's own

// The high word of a 32 × 32 bit product, from products of halves that cannot overflow.
fn mul_high(a: u32, b: u32) -> u32 {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let middle = a_high * b_low + (a_low * b_low >> 16u);
    let other = a_low * b_high + (middle & 0xffffu);
    return a_high * b_high + (middle >> 16u) + (other >> 16u);
}

// The block of that number of the stream with that key.
fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let high0 = mul_high(0xD2511F53u, c.x);
        let high1 = mul_high(0xCD9E8D57u, c.z);
        c = vec4(high1 ^ c.y ^ k.x, 0xCD9E8D57u * c.z, high0 ^ c.w ^ k.y, 0xD2511F53u * c.x);
        k += vec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// What the weight of a pair was multiplied by.
fn kept(entry: u32, query: u32, key: u32) -> f32 {
    let block = (entry * params.queries + query) * ((params.keys + 3u) / 4u) + key / 4u;
    let words = philox(vec4(block, params.stream, 0x64726f70u), params.seed);
    return select(0.0, params.kept, words[key % 4u] >> 8u < params.below);
}

// p for four of one's own and one other, from the products of their vectors.
fn probability(product: vec4<f32>, entry: u32, own: vec4<u32>, other: u32) -> vec4<f32> {
    let queries = select(own, vec4(other), KEYS);
    let keys = select(vec4(other), own, KEYS);
    let position = queries + params.offset;
    // Others beyond the last are read as the last and not used.
    let row = min(queries, vec4(params.queries - 1u));
    let inside = vec4(other < select(params.keys, params.queries, KEYS));
    var open = inside & (keys <= position + params.right) & (position <= keys + params.left);
    var s = params.scale * product;
    if BIAS {
        let head = vec2(entry / params.heads, entry % params.heads) * params.bias_strides.xy;
        let column = min(keys, vec4(params.keys - 1u)) * params.bias_strides.w;
        let at = head.x + head.y + column + row * params.bias_strides.z;
        s += vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
        open &= s > vec4(LOWEST);
    }
    let at = entry * params.queries + row;
    s -= vec4(saved[at.x], saved[at.y], saved[at.z], saved[at.w]);
    return select(vec4(0.0), exp(s), open);
}

// ds, from p, z and the products of the vectors dy and v.
fn slope(p: vec4<f32>, z: vec4<f32>, product: vec4<f32>, entry: u32, own: vec4<u32>, other: u32) -> vec4<f32> {
    let queries = select(own, vec4(other), KEYS);
    let row = min(queries, vec4(params.queries - 1u));
    let delta = (params.entries + entry) * params.queries + row;
    let change = product * z - vec4(saved[delta.x], saved[delta.y], saved[delta.z], saved[delta.w]);
    return p * change * params.scale;
}

// What the products of four of one's own and one other come to: first p, then ds; or at once z·p.
fn weigh(product: u32, at: u32, s: vec4<f32>, entry: u32, own: vec4<u32>, other: u32) {
    if product == 0u {
        weights[at] = probability(s, entry, own, other);
        if !VALUES {
            return;
        }
    }
    var z = vec4(1.0);
    if DROPOUT {
        for (var i = 0u; i < 4u; i++) {
            let query = select(own[i], other, KEYS);
            z[i] = kept(entry, query, select(other, own[i], KEYS));
        }
    }
    if VALUES {
        weights[at] *= z;
    } else {
        weights[at] = slope(weights[at], z, s, entry, own, other);
    }
}

@compute @workgroup_size(16, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let own_count = select(params.queries, params.keys, KEYS);
    let other_count = select(params.keys, params.queries, KEYS);
    let shared_by = select(1u, params.per_group, KEYS);
    let columns = select(params.depth, params.width, VALUES);
    let tiles = (own_count + 31u) / 32u;
    let parts = (columns + 63u) / 64u;
    let tile = group.y * groups.x + group.x;
    let own_entry = tile / tiles / parts;
    if own_entry * shared_by >= params.entries {
        return;
    }
    let start = tile / parts % tiles * 32u;
    let tx = local % 16u;
    let ty = local / 16u;
    let column = tile % parts * 64u + 4u * tx;
    // Those beyond the last repeat it, and are not stored or count for nothing.
    let fours = vec4(0u, 1u, 2u, 3u);
    let last_other = vec4(other_count - 1u);
    let last_own = vec4(own_count - 1u);
    let own = min(vec4(start + 4u * ty) + fours, last_own);
    // The others that see or are seen by some of the tile: keys from a multiple of four on.
    let last = min(start + 32u, own_count);
    let lowest = start + params.offset;
    var begin = (lowest - min(lowest, params.left)) & ~3u;
    var end = min(last + params.offset + params.right, params.keys);
    if KEYS {
        begin = max(start, params.right + params.offset) - (params.right + params.offset);
        end = min(max(last + params.left, params.offset) - params.offset, params.queries);
    }
    var row0 = vec4<f32>();
    var row1 = vec4<f32>();
    var row2 = vec4<f32>();
    var row3 = vec4<f32>();
    for (var head = 0u; head < shared_by; head++) {
        let entry = own_entry * shared_by + head;
        let first_other = select(entry / params.per_group, entry, KEYS) * other_count;
        for (var block = begin; block < end; block += 32u) {
            let other = block + 2u * tx;
            // First the products q·k, and then, unless it is for dv, dy·v.
            for (var product = 0u; product < select(2u, 1u, VALUES); product++) {
                let features = select(params.width, params.depth, product == 0u);
                var s0 = vec4<f32>();
                var s1 = vec4<f32>();
                for (var d0 = 0u; d0 < features; d0 += 8u) {
                    // Lanes read along the features, which are neighbours; half of them one's own, half others.
                    let inside = d0 + local % 8u < features;
                    let d = min(d0 + local % 8u, features - 1u);
                    var values: vec4<f32>;
                    if local < 64u {
                        let first = vec4(start + 4u * (local / 8u)) + fours;
                        let at = (own_entry * own_count + min(first, last_own)) * features + d;
                        if product == 0u {
                            values = vec4(own_a[at.x], own_a[at.y], own_a[at.z], own_a[at.w]);
                        } else {
                            values = vec4(own_b[at.x], own_b[at.y], own_b[at.z], own_b[at.w]);
                        }
                        near[local % 8u * NEAR + local / 8u] = select(vec4<f32>(), values, inside);
                    } else {
                        let first = vec4(block + 4u * (local / 8u - 8u)) + fours;
                        let at = (first_other + min(first, last_other)) * features + d;
                        if product == 0u {
                            values = vec4(other_a[at.x], other_a[at.y], other_a[at.z], other_a[at.w]);
                        } else {
                            values = vec4(other_b[at.x], other_b[at.y], other_b[at.z], other_b[at.w]);
                        }
                        far[local % 8u * FAR + local / 8u - 8u] = select(vec4<f32>(), values, inside);
                    }
                    workgroupBarrier();
                    for (var i = 0u; i < 8u; i++) {
                        let a = near[i * NEAR + ty];
                        let b = far[i * FAR + tx / 2u];
                        let pair = select(b.xy, b.zw, tx % 2u == 1u);
                        s0 += a * pair.x;
                        s1 += a * pair.y;
                    }
                    workgroupBarrier();
                }
                weigh(product, 2u * tx * NEAR + ty, s0, entry, own, other);
                weigh(product, (2u * tx + 1u) * NEAR + ty, s1, entry, own, other + 1u);
            }
            for (var j0 = 0u; j0 < 32u; j0 += 8u) {
                let vector = (first_other + min(block + j0 + ty, last_other.x)) * columns;
                let at = vector + min(vec4(column) + fours, vec4(columns - 1u));
                if VALUES {
                    far[ty * FAR + tx] = vec4(other_b[at.x], other_b[at.y], other_b[at.z], other_b[at.w]);
                } else {
                    far[ty * FAR + tx] = vec4(other_a[at.x], other_a[at.y], other_a[at.z], other_a[at.w]);
                }
                workgroupBarrier();
                for (var j = 0u; j < 8u; j++) {
                    let p = weights[(j0 + j) * NEAR + ty];
                    let value = far[j * FAR + tx];
                    row0 += p.x * value;
                    row1 += p.y * value;
                    row2 += p.z * value;
                    row3 += p.w * value;
                }
                workgroupBarrier();
            }
        }
    }
    store(own_entry * own_count + own.x, column, columns, row0);
    store(own_entry * own_count + own.y, column, columns, row1);
    store(own_entry * own_count + own.z, column, columns, row2);
    store(own_entry * own_count + own.w, column, columns, row3);
}

// Of those beyond the last the same is stored as of the last.
fn store(vector: u32, column: u32, columns: u32, values: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) {
        if column + j < columns {
            gradient[vector * columns + column + j] = values[j];
        }
    }
}
