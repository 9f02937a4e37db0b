
// Steps on tokens: smooth activations, layer norms, attention. Warps sum with all lanes, in one order.

static __device__ __forceinline__ float warp_sum(float v) {
    for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffu, v, step);
    return v;
}

static __device__ __forceinline__ float warp_maximum(float v) {
    for (int step = 16; step > 0; step /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, step));
    return v;
}

// x * sigmoid(x), or with `gaussian` x * Phi(x).
static __device__ __forceinline__ float smooth_value(float x, int gaussian) {
    return gaussian ? 0.5f * x * (1.0f + erff(x * 0.70710678f)) : x / (1.0f + expf(-x));
}

static __device__ __forceinline__ float smooth_slope(float x, int gaussian) {
    if (gaussian) return 0.5f * (1.0f + erff(x * 0.70710678f)) + x * 0.39894228f * expf(-0.5f * x * x);
    float s = 1.0f / (1.0f + expf(-x));
    return s * (1.0f + x * (1.0f - s));
}

extern "C" __global__ void smooth(const Eight* x, Eight* out, int gaussian, long long count) {
    INDEX
    Eight a = x[at];
    for (int k = 0; k < 8; k++) a.of[k] = from_float(smooth_value(to_float(a.of[k]), gaussian));
    out[at] = a;
}

extern "C" __global__ void smooth_gradient(const Eight* x, const Eight* gradient, Eight* out, int gaussian, long long count) {
    INDEX
    Eight a = x[at], g = gradient[at];
    for (int k = 0; k < 8; k++) g.of[k] = from_float(to_float(g.of[k]) * smooth_slope(to_float(a.of[k]), gaussian));
    out[at] = g;
}

// Each row by its own mean and variance, one warp for each; `moments` are the means of all rows and then their inverse deviations.
extern "C" __global__ void layer_norm(const value* x, const float* scale, const float* shift, float epsilon, value* out, float* moments,
                                      int channels, int groups, long long count) {
    long long row = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32, width = groups * 8;
    if (row >= count) return;
    const value* from = x + row * width;
    float sum = 0.0f, squares = 0.0f;
    for (int c = lane; c < channels; c += 32) sum += to_float(from[c]);
    float mean = warp_sum(sum) / channels;
    for (int c = lane; c < channels; c += 32) squares += (to_float(from[c]) - mean) * (to_float(from[c]) - mean);
    float inverse = rsqrtf(warp_sum(squares) / channels + epsilon);
    for (int c = lane; c < width; c += 32)
        out[row * width + c] = from_float(c < channels ? (to_float(from[c]) - mean) * inverse * scale[c] + shift[c] : 0.0f);
    if (lane == 0) {
        moments[row] = mean;
        moments[count + row] = inverse;
    }
}

extern "C" __global__ void layer_norm_by_input(const value* x, const value* gradient, const float* scale, const float* moments, value* out,
                                               int channels, int groups, long long count) {
    long long row = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32, width = groups * 8;
    if (row >= count) return;
    const value *from = x + row * width, *by = gradient + row * width;
    float mean = moments[row], inverse = moments[count + row], plain = 0.0f, along = 0.0f;
    for (int c = lane; c < channels; c += 32) {
        float slope = to_float(by[c]) * scale[c];
        plain += slope;
        along += slope * (to_float(from[c]) - mean) * inverse;
    }
    plain = warp_sum(plain) / channels;
    along = warp_sum(along) / channels;
    for (int c = lane; c < width; c += 32) {
        float normal = (to_float(from[c]) - mean) * inverse;
        out[row * width + c] = from_float(c < channels ? (to_float(by[c]) * scale[c] - plain - normal * along) * inverse : 0.0f);
    }
}

// Sums over rows of the gradient, and of it times the normalised values.
extern "C" __global__ void layer_norm_sums(const Eight* x, const Eight* gradient, const float* moments, float* partial, long long rows,
                                           int rows_of_block, int width, int groups) {
    two_sums(x, gradient, 0, moments, partial, rows, rows_of_block, width, groups);
}

extern "C" __global__ void layer_norm_finish(const float* partial, int blocks, float scale, float* by_scale, float* by_shift, int groups,
                                             long long count) {
    INDEX
    double plain = 0.0, along = 0.0;
    for (int block = 0; block < blocks; block++) {
        plain += partial[((long long)block * 2) * groups * 8 + at];
        along += partial[((long long)block * 2 + 1) * groups * 8 + at];
    }
    by_scale[at] = (float)(along * scale);
    by_shift[at] = (float)(plain * scale);
}

// softmax(scale * Q K^T) V in each head of each sequence. Queries and keys are [sequence, token, channel] with `query_width` channels of each
// head side by side, values and outputs the same with `value_width`. One warp for each query, or for each key.
struct Heads {
    int tokens, heads, query_width, value_width, query_groups, value_groups;
    float scale;
};

// Channels of a head that a warp sums at a time, in lanes.
#define PARTS 4

static __device__ __forceinline__ float dot(const value* a, const value* b, int width) {
    float sum = 0.0f;
    for (int c = 0; c < width; c++) sum += to_float(a[c]) * to_float(b[c]);
    return sum;
}

// Which head of which token in which sequence a warp works on.
#define HEAD                                                                              \
    long long warp = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;             \
    int lane = threadIdx.x % 32;                                                          \
    if (warp >= count) return;                                                            \
    int token = (int)(warp % h.tokens), head = (int)(warp / h.tokens % h.heads);          \
    long long sequence = warp / h.tokens / h.heads, first = sequence * h.tokens;          \
    int query_row = h.query_groups * 8, value_row = h.value_groups * 8;                   \
    const value *q = queries + first * query_row + head * h.query_width;                  \
    const value *k = keys + first * query_row + head * h.query_width;                     \
    const value *v = values + first * value_row + head * h.value_width;                   \
    long long of_head = (sequence * h.heads + head) * h.tokens;

// The channels behind those of all heads are zeros.
static __device__ __forceinline__ void clear_behind(value* row, int from, int to, int lane) {
    for (int c = from + lane; c < to; c += 32) row[c] = from_float(0.0f);
}

// `kept` takes the logarithm of what each query's softmax divides by.
extern "C" __global__ void attention(const value* queries, const value* keys, const value* values, value* out, float* kept, Heads h,
                                     long long count) {
    HEAD
    q += (long long)token * query_row;
    float most = -__int_as_float(0x7f800000), total = 0.0f;
    for (int j = lane; j < h.tokens; j += 32) {
        float score = h.scale * dot(q, k + (long long)j * query_row, h.query_width), before = most;
        most = fmaxf(most, score);
        total = total * expf(before - most) + expf(score - most);
    }
    float all = warp_maximum(most);
    // Lanes beyond the tokens have seen nothing.
    total = warp_sum(total > 0.0f ? total * expf(most - all) : total);
    float divisor = all + logf(total);
    if (lane == 0) kept[of_head + token] = divisor;
    value* to = out + (first + token) * value_row;
    for (int base = 0; base < h.value_width; base += 32 * PARTS) {
        float sum[PARTS];
        for (int part = 0; part < PARTS; part++) sum[part] = 0.0f;
        for (int start = 0; start < h.tokens; start += 32) {
            int mine = start + lane;
            float share = mine < h.tokens ? expf(h.scale * dot(q, k + (long long)mine * query_row, h.query_width) - divisor) : 0.0f;
            for (int j = 0; j < 32 && start + j < h.tokens; j++) {
                float of = __shfl_sync(0xffffffffu, share, j);
                const value* row = v + (long long)(start + j) * value_row;
                for (int part = 0; part < PARTS; part++) {
                    int c = base + part * 32 + lane;
                    if (c < h.value_width) sum[part] += of * to_float(row[c]);
                }
            }
        }
        for (int part = 0; part < PARTS; part++) {
            int c = base + part * 32 + lane;
            if (c < h.value_width) to[head * h.value_width + c] = from_float(sum[part]);
        }
    }
    if (head == h.heads - 1) clear_behind(to, h.heads * h.value_width, value_row, lane);
}

// The gradient by queries; `along` takes the sum of each output times its gradient.
extern "C" __global__ void attention_by_queries(const value* queries, const value* keys, const value* values, const value* outputs,
                                                const value* gradient, const float* kept, float* along, value* out, Heads h,
                                                long long count) {
    HEAD
    q += (long long)token * query_row;
    const value* by = gradient + (first + token) * value_row + head * h.value_width;
    const value* y = outputs + (first + token) * value_row + head * h.value_width;
    float sum_along = 0.0f, divisor = kept[of_head + token];
    for (int c = lane; c < h.value_width; c += 32) sum_along += to_float(by[c]) * to_float(y[c]);
    sum_along = warp_sum(sum_along);
    if (lane == 0) along[of_head + token] = sum_along;
    value* to = out + (first + token) * query_row;
    for (int base = 0; base < h.query_width; base += 32 * PARTS) {
        float sum[PARTS];
        for (int part = 0; part < PARTS; part++) sum[part] = 0.0f;
        for (int start = 0; start < h.tokens; start += 32) {
            int mine = start + lane;
            float slope = 0.0f;
            if (mine < h.tokens) {
                float share = expf(h.scale * dot(q, k + (long long)mine * query_row, h.query_width) - divisor);
                slope = share * (dot(by, v + (long long)mine * value_row, h.value_width) - sum_along) * h.scale;
            }
            for (int j = 0; j < 32 && start + j < h.tokens; j++) {
                float of = __shfl_sync(0xffffffffu, slope, j);
                const value* row = k + (long long)(start + j) * query_row;
                for (int part = 0; part < PARTS; part++) {
                    int c = base + part * 32 + lane;
                    if (c < h.query_width) sum[part] += of * to_float(row[c]);
                }
            }
        }
        for (int part = 0; part < PARTS; part++) {
            int c = base + part * 32 + lane;
            if (c < h.query_width) to[head * h.query_width + c] = from_float(sum[part]);
        }
    }
    if (head == h.heads - 1) clear_behind(to, h.heads * h.query_width, query_row, lane);
}

// The gradients by keys and by values, after that by queries.
extern "C" __global__ void attention_by_keys(const value* queries, const value* keys, const value* values, const value* gradient,
                                             const float* kept, const float* along, value* by_keys, value* by_values, Heads h,
                                             long long count) {
    HEAD
    k += (long long)token * query_row;
    v += (long long)token * value_row;
    const value* by = gradient + first * value_row + head * h.value_width;
    value *to_keys = by_keys + (first + token) * query_row, *to_values = by_values + (first + token) * value_row;
    int widest = h.query_width > h.value_width ? h.query_width : h.value_width;
    for (int base = 0; base < widest; base += 32 * PARTS) {
        float of_keys[PARTS], of_values[PARTS];
        for (int part = 0; part < PARTS; part++) of_keys[part] = of_values[part] = 0.0f;
        for (int start = 0; start < h.tokens; start += 32) {
            int mine = start + lane;
            float share = 0.0f, slope = 0.0f;
            if (mine < h.tokens) {
                share = expf(h.scale * dot(q + (long long)mine * query_row, k, h.query_width) - kept[of_head + mine]);
                slope = share * (dot(by + (long long)mine * value_row, v, h.value_width) - along[of_head + mine]) * h.scale;
            }
            for (int i = 0; i < 32 && start + i < h.tokens; i++) {
                float share_of = __shfl_sync(0xffffffffu, share, i), slope_of = __shfl_sync(0xffffffffu, slope, i);
                const value *query = q + (long long)(start + i) * query_row, *out = by + (long long)(start + i) * value_row;
                for (int part = 0; part < PARTS; part++) {
                    int c = base + part * 32 + lane;
                    if (c < h.query_width) of_keys[part] += slope_of * to_float(query[c]);
                    if (c < h.value_width) of_values[part] += share_of * to_float(out[c]);
                }
            }
        }
        for (int part = 0; part < PARTS; part++) {
            int c = base + part * 32 + lane;
            if (c < h.query_width) to_keys[head * h.query_width + c] = from_float(of_keys[part]);
            if (c < h.value_width) to_values[head * h.value_width + c] = from_float(of_values[part]);
        }
    }
    if (head == h.heads - 1) {
        clear_behind(to_keys, h.heads * h.query_width, query_row, lane);
        clear_behind(to_values, h.heads * h.value_width, value_row, lane);
    }
}
