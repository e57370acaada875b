// fma       how many multiplications with addition the adapter does in a second, from registers alone
// Layout    x: f32 [2], a factor and a term; y: f32 [invocations]
// Bindings  0 params uniform · 1 x read · 2 y read_write
// Mapping   an invocation keeps eight vec4s and works on each in turn, so that none waits for the last
// Numerics  with 1/2 and 1 every lane ends at 2, exactly: y = 64

struct Params {
    turns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let a = vec4(x[0]);
    let b = vec4(x[1]);
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    var s4 = vec4<f32>();
    var s5 = vec4<f32>();
    var s6 = vec4<f32>();
    var s7 = vec4<f32>();
    for (var turn = 0u; turn < params.turns; turn++) {
        s0 = fma(s0, a, b);
        s1 = fma(s1, a, b);
        s2 = fma(s2, a, b);
        s3 = fma(s3, a, b);
        s4 = fma(s4, a, b);
        s5 = fma(s5, a, b);
        s6 = fma(s6, a, b);
        s7 = fma(s7, a, b);
        s0 = fma(s0, a, b);
        s1 = fma(s1, a, b);
        s2 = fma(s2, a, b);
        s3 = fma(s3, a, b);
        s4 = fma(s4, a, b);
        s5 = fma(s5, a, b);
        s6 = fma(s6, a, b);
        s7 = fma(s7, a, b);
    }
    let s = (s0 + s1) + (s2 + s3) + ((s4 + s5) + (s6 + s7));
    y[id.x] = (s.x + s.y) + (s.z + s.w);
}
