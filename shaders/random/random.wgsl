// random   y[i] = uniform or normal number made of word i % 4 of Philox block i / 4
// Reference  src/ops/random/mod.rs, philox.rs, normal.rs
// Layout     table: i32 [1024][c0, c1, c2, 0], of normal.rs; y: f32, dense
// Bindings   0 params uniform · 1 table read · 2 y read_write
// Mapping    one invocation a block of four; more than 65535 groups fold into grid y
// Numerics   integers up to a conversion and a scaling by a power of two that are exact: the same bits on
//            every device
// Barriers   none

const NORMAL: bool = false;
const GROUP: u32 = 64u;

struct Params {
    count: u32, // elements of y
    tag: u32,
    seed: vec2<u32>, // low word, high word
    stream: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4<i32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

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

// v / 2^15, to the nearest.
fn scaled(v: i32) -> i32 {
    return (v + 0x4000) >> 15u;
}

// The standard normal number of a word, in units of 2^-21; see normal.rs.
fn normal(word: u32) -> i32 {
    let m = word & 0x7fffffffu;
    let octave = countLeadingZeros(m) - 1u;
    // Behind the leading one. In two shifts, as one by 32 would be none.
    let rest = (m << min(octave + 1u, 31u)) << 1u;
    let c = table[octave * 32u + (rest >> 27u)];
    let t = i32((rest >> 12u) & 0x7fffu);
    let z = c.x + scaled((c.y + scaled(c.z * t)) * t);
    return select(z, -z, word >> 31u == 1u);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = (group.y * groups.x + group.x) * GROUP + local;
    let words = philox(vec4(block, params.stream, params.tag), params.seed);
    for (var lane = 0u; lane < 4u; lane++) {
        let own = block * 4u + lane;
        if own >= params.count {
            return;
        }
        if NORMAL {
            y[own] = f32(normal(words[lane])) * 0x1p-21f;
        } else {
            y[own] = f32(words[lane] >> 8u) * 0x1p-24f;
        }
    }
}
