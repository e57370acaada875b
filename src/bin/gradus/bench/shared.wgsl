// shared    how fast invocations read what they keep together in workgroup memory
// Layout    x: f32 [1]; y: f32 [invocations]
// Bindings  0 params uniform · 1 x read · 2 y read_write
// Mapping   256 invocations share 1024 vec4s (16 KiB); each reads four a turn, neighbours from neighbours
// Numerics  all words are x[0] = 1, so y = 16 × turns, exactly
// Barriers  one, behind the filling

struct Params {
    turns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> words: array<vec4<f32>, 1024>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    for (var i = 0u; i < 4u; i++) {
        words[i * 256u + local] = vec4(x[0]);
    }
    workgroupBarrier();
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var turn = 0u; turn < params.turns; turn++) {
        let at = (local + turn) & 255u;
        s0 += words[at];
        s1 += words[at + 256u];
        s2 += words[at + 512u];
        s3 += words[at + 768u];
    }
    let s = (s0 + s1) + (s2 + s3);
    y[id.x] = (s.x + s.y) + (s.z + s.w);
}
