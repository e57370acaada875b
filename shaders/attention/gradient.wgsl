// gradient   with p[i,j] = exp(s[i,j] − lse[i]), s[i,j] = scale·q[i]·k[j] + bias[i,j] for j open to i, else 0, and
//            ds[i,j] = p[i,j]·(z[i,j]·dy[i]·v[j] − delta[i])·scale, z[i,j] = 0 or params.kept at random:
//            dq[i] = Σj ds[i,j]·k[j], or, KEYS, dk[j] = Σi ds[i,j]·q[i] and dv[j] = Σi z[i,j]·p[i,j]·dy[i]
// Reference  src/ops/attention/backward.rs
// Layout     own_a, own_b: f32 [own entries, own, depth and width], what gradients are computed for: q and dy,
//            or k and v; other_a, other_b: what is summed over: k and v, or q and dy;
//            bias: f32 with strides, that of an axis it is broadcast along being zero;
//            saved: f32 [2, entries, queries], lse and delta = Σ dy·y; da: f32 like own_a, db: like own_b
// Bindings   0 params uniform · 1 own_a read · 2 other_a read · 3 own_b read · 4 other_b read · 5 bias read ·
//            6 saved read · 7 da read_write · 8 db read_write, written for KEYS alone
// Mapping    workgroup = tile of 4·LANES queries or keys of one entry or, for keys, one head of keys; an
//            invocation four of them, the lanes of a vector; the others go by in blocks of four, the same for
//            all invocations. More than 65535 groups fold into grid y
// Numerics   f32; the outputs are the accumulators, each sums its blocks in order
// Source     Dao 2023, arXiv:2307.08691
// Barriers   none

const BIAS: bool = false;
const DROPOUT: bool = false;
const KEYS: bool = false;
const LANES: u32 = 8u;

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
@group(0) @binding(7) var<storage, read_write> da: array<f32>;
@group(0) @binding(8) var<storage, read_write> db: array<f32>;

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

// What the weights of a query's keys, from `key` on, were multiplied by.
fn kept(entry: u32, query: u32, key: u32) -> vec4<f32> {
    let block = (entry * params.queries + query) * ((params.keys + 3u) / 4u) + key / 4u;
    let words = philox(vec4(block, params.stream, 0x64726f70u), params.seed);
    return select(vec4(0.0), vec4(params.kept), (words >> vec4(8u)) < vec4(params.below));
}

// z of four keys, from that of the block they are in: those beyond the last key repeat it.
fn picked(z: vec4<f32>, keys: vec4<u32>) -> vec4<f32> {
    let at = keys % vec4(4u);
    return vec4(z[at.x], z[at.y], z[at.z], z[at.w]);
}

// For four of one's own and each of a block of four others, z: column by column.
fn kept_block(entry: u32, own: vec4<u32>, other: vec4<u32>) -> mat4x4<f32> {
    if !DROPOUT {
        return mat4x4(vec4(1.0), vec4(1.0), vec4(1.0), vec4(1.0));
    }
    if KEYS {
        return mat4x4(
            picked(kept(entry, other.x, own.x), own),
            picked(kept(entry, other.y, own.x), own),
            picked(kept(entry, other.z, own.x), own),
            picked(kept(entry, other.w, own.x), own),
        );
    }
    return transpose(mat4x4(
        kept(entry, own.x, other.x),
        kept(entry, own.y, other.x),
        kept(entry, own.z, other.x),
        kept(entry, own.w, other.x),
    ));
}

struct Pair {
    weight: vec4<f32>, // p·z
    slope: vec4<f32>, // ds
}

// Four of one's own and one other, from the products of their vectors, q·k and dy·v.
fn pair(a: vec4<f32>, b: vec4<f32>, z: vec4<f32>, entry: u32, own: vec4<u32>, other: u32) -> Pair {
    let queries = select(own, vec4(other), KEYS);
    let keys = select(vec4(other), own, KEYS);
    let position = queries + params.offset;
    // Others beyond the last are read as the last and not used.
    let row = min(queries, vec4(params.queries - 1u));
    let inside = vec4(other < select(params.keys, params.queries, KEYS));
    var open = inside & (keys <= position + params.right) & (position <= keys + params.left);
    var s = params.scale * a;
    if BIAS {
        let head = vec2(entry / params.heads, entry % params.heads) * params.bias_strides.xy;
        let column = min(keys, vec4(params.keys - 1u)) * params.bias_strides.w;
        let at = head.x + head.y + column + row * params.bias_strides.z;
        s += vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
        open &= s > vec4(LOWEST);
    }
    let at = entry * params.queries + row;
    let delta = at + params.entries * params.queries;
    s -= vec4(saved[at.x], saved[at.y], saved[at.z], saved[at.w]);
    let p = select(vec4(0.0), exp(s), open);
    let change = b * z - vec4(saved[delta.x], saved[delta.y], saved[delta.z], saved[delta.w]);
    return Pair(p * z, p * change * params.scale);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let own_count = select(params.queries, params.keys, KEYS);
    let other_count = select(params.keys, params.queries, KEYS);
    let shared_by = select(1u, params.per_group, KEYS);
    let tiles = (own_count + 4u * LANES - 1u) / (4u * LANES);
    let tile = group.y * groups.x + group.x;
    let own_entry = tile / tiles;
    let start = tile % tiles * (4u * LANES);
    let first = start + local * 4u;
    if own_entry * shared_by >= params.entries || first >= own_count {
        return;
    }
    // Those beyond the last repeat it: what they compute and store is the same.
    let own = min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(own_count - 1u));
    let at_a = (own_entry * own_count + own) * params.depth;
    let at_b = (own_entry * own_count + own) * params.width;
    for (var d = 0u; d < params.depth; d++) {
        store_a(at_a + d, vec4(0.0));
    }
    if KEYS {
        for (var d = 0u; d < params.width; d++) {
            store_b(at_b + d, vec4(0.0));
        }
    }
    // The others that see or are seen by some of the tile: keys from a multiple of four on.
    let last = min(start + 4u * LANES, own_count);
    let lowest = start + params.offset;
    var begin = (lowest - min(lowest, params.left)) & ~3u;
    var end = min(last + params.offset + params.right, params.keys);
    if KEYS {
        begin = max(start, params.right + params.offset) - (params.right + params.offset);
        end = min(max(last + params.left, params.offset) - params.offset, params.queries);
    }
    for (var head = 0u; head < shared_by; head++) {
        let entry = own_entry * shared_by + head;
        let other_entry = select(entry / params.per_group, entry, KEYS);
        for (var block = begin; block < end; block += 4u) {
            let others = vec4(block) + vec4(0u, 1u, 2u, 3u);
            let near = other_entry * other_count + min(others, vec4(other_count - 1u));
            let from_a = near * params.depth;
            let from_b = near * params.width;
            var a = mat4x4<f32>();
            for (var d = 0u; d < params.depth; d++) {
                let at = at_a + d;
                let x = vec4(own_a[at.x], own_a[at.y], own_a[at.z], own_a[at.w]);
                a += mat4x4(
                    x * other_a[from_a.x + d],
                    x * other_a[from_a.y + d],
                    x * other_a[from_a.z + d],
                    x * other_a[from_a.w + d],
                );
            }
            var b = mat4x4<f32>();
            for (var d = 0u; d < params.width; d++) {
                let at = at_b + d;
                let x = vec4(own_b[at.x], own_b[at.y], own_b[at.z], own_b[at.w]);
                b += mat4x4(
                    x * other_b[from_b.x + d],
                    x * other_b[from_b.y + d],
                    x * other_b[from_b.z + d],
                    x * other_b[from_b.w + d],
                );
            }
            let z = kept_block(entry, own, others);
            let p0 = pair(a[0], b[0], z[0], entry, own, others.x);
            let p1 = pair(a[1], b[1], z[1], entry, own, others.y);
            let p2 = pair(a[2], b[2], z[2], entry, own, others.z);
            let p3 = pair(a[3], b[3], z[3], entry, own, others.w);
            for (var d = 0u; d < params.depth; d++) {
                let at = at_a + d;
                let low = p0.slope * other_a[from_a.x + d] + p1.slope * other_a[from_a.y + d];
                let high = p2.slope * other_a[from_a.z + d] + p3.slope * other_a[from_a.w + d];
                store_a(at, vec4(da[at.x], da[at.y], da[at.z], da[at.w]) + (low + high));
            }
            if KEYS {
                for (var d = 0u; d < params.width; d++) {
                    let at = at_b + d;
                    let low = p0.weight * other_b[from_b.x + d] + p1.weight * other_b[from_b.y + d];
                    let high = p2.weight * other_b[from_b.z + d] + p3.weight * other_b[from_b.w + d];
                    store_b(at, vec4(db[at.x], db[at.y], db[at.z], db[at.w]) + (low + high));
                }
            }
        }
    }
}

fn store_a(at: vec4<u32>, value: vec4<f32>) {
    da[at.x] = value.x;
    da[at.y] = value.y;
    da[at.z] = value.z;
    da[at.w] = value.w;
}

fn store_b(at: vec4<u32>, value: vec4<f32>) {
    db[at.x] = value.x;
    db[at.y] = value.y;
    db[at.z] = value.z;
    db[at.w] = value.w;
}
