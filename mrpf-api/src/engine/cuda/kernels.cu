// The engine's own kernels. Compiled when first used, once for each type of value, which VALUE chooses.
//
// Values are [batch, pixel, channel] with the channels padded by zeros to a multiple of 8, so that a thread moves 8 at a time; `groups` is
// the number of such eights. Whatever is summed is summed in f32. Every sum has one order, so the same input gives the same bytes.

#if VALUE == 0 // f32
typedef float value;
static __device__ __forceinline__ float to_float(value x) { return x; }
static __device__ __forceinline__ value from_float(float x) { return x; }
#elif VALUE == 1 // bf16: the upper half of an f32, rounded to nearest even
typedef unsigned short value;
static __device__ __forceinline__ float to_float(value x) { return __uint_as_float((unsigned)x << 16); }
static __device__ __forceinline__ value from_float(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (value)((bits >> 16) | 0x40u); // not a number stays one
    return (value)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
#else // f16
typedef unsigned short value;
static __device__ __forceinline__ float to_float(value x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}
static __device__ __forceinline__ value from_float(float x) {
    value y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
#endif

struct __align__(16) Eight {
    value of[8];
};

struct Window {
    int in_height, in_width, out_height, out_width, kernel_height, kernel_width, stride_height, stride_width, pad_height, pad_width;
};

#define INDEX                                                          \
    long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;   \
    if (at >= count) return;

// 0 leaves a value as it is, 1 is a ReLU, 2 one with a ceiling of 6. What is not a number stays so.
static __device__ __forceinline__ float activated(float v, int activation) {
    if (activation && v < 0.0f) return 0.0f;
    return activation == 2 && v > 6.0f ? 6.0f : v;
}

// From images [batch, channel, pixel] in f32, times a factor plus an offset of each channel.
extern "C" __global__ void arrange(const float* images, const float* factor, const float* offset, Eight* out, int pixels, int channels,
                                   int groups, long long count) {
    INDEX
    int group = (int)(at % groups);
    long long place = at / groups;
    long long pixel = place % pixels, image = place / pixels;
    Eight y;
    for (int k = 0; k < 8; k++) {
        int c = group * 8 + k;
        y.of[k] = from_float(c < channels ? images[(image * channels + c) * pixels + pixel] * factor[c] + offset[c] : 0.0f);
    }
    out[at] = y;
}

// Back to the images, in f32.
extern "C" __global__ void arrange_gradient(const value* gradient, const float* factor, float scale, float* out, int pixels, int channels,
                                            int groups, long long count) {
    INDEX
    long long pixel = at % pixels, c = at / pixels % channels, image = at / pixels / channels;
    out[at] = to_float(gradient[(image * pixels + pixel) * groups * 8 + c]) * factor[c] * scale;
}

// What ends a step: factor and offset of each channel, a second value, an activation; whatever is not there is left out.
extern "C" __global__ void finish(const Eight* x, const float* factor, const float* offset, const Eight* other, int activation, Eight* out,
                                  int groups, long long count) {
    INDEX
    int c = (int)(at % groups) * 8;
    Eight a = x[at], b, y;
    if (other) b = other[at];
    for (int k = 0; k < 8; k++) {
        float v = to_float(a.of[k]);
        if (factor) v *= factor[c + k];
        if (offset) v += offset[c + k];
        if (other) v += to_float(b.of[k]);
        y.of[k] = from_float(activated(v, activation));
    }
    out[at] = y;
}

// A gradient, with another added to it, through the activation that made `y`.
extern "C" __global__ void activation_gradient(const Eight* gradient, const Eight* other, const Eight* y, int activation, Eight* out,
                                               long long count) {
    INDEX
    Eight a = gradient[at], b, z;
    if (other) b = other[at];
    if (y) z = y[at];
    for (int k = 0; k < 8; k++) {
        float v = to_float(a.of[k]);
        if (other) v += to_float(b.of[k]);
        if (y && (!(to_float(z.of[k]) > 0.0f) || (activation == 2 && to_float(z.of[k]) >= 6.0f))) v = 0.0f;
        a.of[k] = from_float(v);
    }
    out[at] = a;
}

extern "C" __global__ void max_pool(const Eight* x, Eight* out, uchar4* winners, Window window, int groups, long long count) {
    INDEX
    int group = (int)(at % groups);
    long long place = at / groups;
    int column = (int)(place % window.out_width), row = (int)(place / window.out_width % window.out_height);
    long long image = place / window.out_width / window.out_height;
    float best[8];
    unsigned char winner[8];
    for (int k = 0; k < 8; k++) {
        best[k] = -__int_as_float(0x7f800000);
        winner[k] = 255;
    }
    for (int i = 0; i < window.kernel_height; i++) {
        int y = row * window.stride_height - window.pad_height + i;
        if (y < 0 || y >= window.in_height) continue;
        for (int j = 0; j < window.kernel_width; j++) {
            int z = column * window.stride_width - window.pad_width + j;
            if (z < 0 || z >= window.in_width) continue;
            Eight here = x[((image * window.in_height + y) * window.in_width + z) * groups + group];
            for (int k = 0; k < 8; k++) {
                float v = to_float(here.of[k]);
                if (winner[k] == 255 || v > best[k] || (v != v && best[k] == best[k])) {
                    best[k] = v;
                    winner[k] = (unsigned char)(i * window.kernel_width + j);
                }
            }
        }
    }
    Eight y;
    for (int k = 0; k < 8; k++) y.of[k] = from_float(best[k]);
    out[at] = y;
    winners[2 * at] = make_uchar4(winner[0], winner[1], winner[2], winner[3]);
    winners[2 * at + 1] = make_uchar4(winner[4], winner[5], winner[6], winner[7]);
}

// Each place gathers from the windows that it won, so that sums have one order.
extern "C" __global__ void max_pool_gradient(const Eight* gradient, const unsigned char* winners, Eight* out, Window window, int groups,
                                             long long count) {
    INDEX
    int group = (int)(at % groups);
    long long place = at / groups;
    int column = (int)(place % window.in_width), row = (int)(place / window.in_width % window.in_height);
    long long image = place / window.in_width / window.in_height;
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < window.kernel_height; i++) {
        int y = row + window.pad_height - i;
        if (y < 0 || y % window.stride_height || y / window.stride_height >= window.out_height) continue;
        for (int j = 0; j < window.kernel_width; j++) {
            int z = column + window.pad_width - j;
            if (z < 0 || z % window.stride_width || z / window.stride_width >= window.out_width) continue;
            long long from = ((image * window.out_height + y / window.stride_height) * window.out_width + z / window.stride_width) * groups + group;
            Eight here = gradient[from];
            for (int k = 0; k < 8; k++)
                if (winners[from * 8 + k] == i * window.kernel_width + j) sum[k] += to_float(here.of[k]);
        }
    }
    Eight y;
    for (int k = 0; k < 8; k++) y.of[k] = from_float(sum[k]);
    out[at] = y;
}

extern "C" __global__ void global_mean(const Eight* x, Eight* out, int pixels, int groups, long long count) {
    INDEX
    long long image = at / groups, group = at % groups;
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int p = 0; p < pixels; p++) {
        Eight here = x[(image * pixels + p) * groups + group];
        for (int k = 0; k < 8; k++) sum[k] += to_float(here.of[k]);
    }
    Eight y;
    for (int k = 0; k < 8; k++) y.of[k] = from_float(sum[k] / pixels);
    out[at] = y;
}

extern "C" __global__ void global_mean_gradient(const Eight* gradient, Eight* out, int pixels, int groups, long long count) {
    INDEX
    long long image = at / groups / pixels, group = at % groups;
    Eight y = gradient[image * groups + group];
    for (int k = 0; k < 8; k++) y.of[k] = from_float(to_float(y.of[k]) / pixels);
    out[at] = y;
}

// Logits [batch, class] in f32, from values or from f32 alike.
extern "C" __global__ void logits(const value* x, float* out, int classes, int groups, long long count) {
    INDEX
    out[at] = to_float(x[at / classes * groups * 8 + at % classes]);
}

// The gradient by the logits as values, times `scale`.
extern "C" __global__ void by_logits(const float* gradient, value* out, float scale, int classes, int groups, long long count) {
    INDEX
    int c = (int)(at % (groups * 8));
    out[at] = from_float(c < classes ? gradient[at / (groups * 8) * classes + c] * scale : 0.0f);
}

// A linear layer: one warp for each output; in f32 `exact` [batch, outputs] where that is asked for, else padded values.
extern "C" __global__ void linear(const value* x, const float* weight, const float* bias, float* exact, value* out, int relu, int inputs,
                                  int in_groups, int outputs, int out_groups, long long count) {
    long long warp = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32;
    if (warp >= count) return;
    int width = exact ? outputs : out_groups * 8;
    int o = (int)(warp % width);
    long long image = warp / width;
    float sum = 0.0f;
    if (o < outputs)
        for (int i = lane; i < inputs; i += 32) sum += to_float(x[image * in_groups * 8 + i]) * weight[(long long)o * inputs + i];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(0xffffffffu, sum, step);
    if (lane) return;
    if (o < outputs && bias) sum += bias[o];
    if (relu && sum < 0.0f) sum = 0.0f;
    if (exact)
        exact[image * outputs + o] = sum;
    else
        out[image * out_groups * 8 + o] = from_float(sum);
}

extern "C" __global__ void linear_by_input(const value* gradient, const float* weight, value* out, int inputs, int in_groups, int outputs,
                                           int out_groups, long long count) {
    INDEX
    int i = (int)(at % (in_groups * 8));
    long long image = at / (in_groups * 8);
    float sum = 0.0f;
    if (i < inputs)
        for (int o = 0; o < outputs; o++) sum += to_float(gradient[image * out_groups * 8 + o]) * weight[(long long)o * inputs + i];
    out[at] = from_float(sum);
}

extern "C" __global__ void linear_by_weight(const value* gradient, const value* x, float* out, float scale, int batch, int inputs,
                                            int in_groups, int out_groups, long long count) {
    INDEX
    int i = (int)(at % inputs), o = (int)(at / inputs);
    float sum = 0.0f;
    for (int image = 0; image < batch; image++)
        sum += to_float(gradient[(long long)image * out_groups * 8 + o]) * to_float(x[(long long)image * in_groups * 8 + i]);
    out[at] = sum * scale;
}

// Filters [out, in, tap] in f32 as values [padded out, tap, padded in], each filter times its factor.
extern "C" __global__ void pack(const float* weight, const float* factor, value* out, int outputs, int inputs, int taps, int in_groups,
                                long long count) {
    INDEX
    int i = (int)(at % (in_groups * 8)), tap = (int)(at / (in_groups * 8) % taps), o = (int)(at / (in_groups * 8) / taps);
    float v = o < outputs && i < inputs ? weight[((long long)o * inputs + i) * taps + tap] : 0.0f;
    if (factor && o < outputs) v *= factor[o];
    out[at] = from_float(v);
}

// The same the other way round for gradients.
extern "C" __global__ void unpack(const value* gradient, float* out, float scale, int inputs, int taps, int in_groups, long long count) {
    INDEX
    int tap = (int)(at % taps), i = (int)(at / taps % inputs), o = (int)(at / taps / inputs);
    out[at] = to_float(gradient[((long long)o * taps + tap) * in_groups * 8 + i]) * scale;
}

// Factor and offset of a batch norm in evaluation mode after a layer with that bias; without a norm the bias alone.
extern "C" __global__ void fold(const float* scale, const float* shift, const float* mean, const float* variance, double epsilon,
                                const float* bias, float* factor, float* offset, value* packed, int channels, long long count) {
    INDEX
    double f = 1.0, b = 0.0;
    if (at < channels) {
        b = bias ? bias[at] : 0.0;
        if (scale) {
            f = scale[at] / sqrt(variance[at] + epsilon);
            b = (b - mean[at]) * f + shift[at];
        }
    }
    if (factor) factor[at] = (float)f;
    if (offset) offset[at] = (float)b;
    if (packed) packed[at] = from_float((float)b);
}

// Sums over rows, for each channel: of x - pivot and its square, or of g and g * (x - pivot). With `moments`, means and inverse deviations
// of all rows, it is each row's own (x - mean) * inverse in place of x - pivot.
// `width` eights of a row lie side by side in a block; blocks along x divide the rows.
static __device__ void two_sums(const Eight* x, const Eight* g, const float* pivot, const float* moments, float* partial, long long rows,
                                int rows_of_block, int width, int groups) {
    __shared__ float shared[256 * 16];
    int lanes = blockDim.x / width, lane = threadIdx.x / width, group = blockIdx.y * width + threadIdx.x % width;
    float first[8], second[8];
    for (int k = 0; k < 8; k++) first[k] = second[k] = 0.0f;
    if (lane < lanes && group < groups) {
        float p[8];
        for (int k = 0; k < 8; k++) p[k] = pivot ? pivot[group * 8 + k] : to_float(x[group].of[k]);
        long long end = (long long)(blockIdx.x + 1) * rows_of_block;
        if (end > rows) end = rows;
        for (long long row = (long long)blockIdx.x * rows_of_block + lane; row < end; row += lanes) {
            Eight here = x[row * groups + group], by;
            if (g) by = g[row * groups + group];
            float mean = moments ? moments[row] : 0.0f, inverse = moments ? moments[rows + row] : 1.0f;
            for (int k = 0; k < 8; k++) {
                float v = moments ? (to_float(here.of[k]) - mean) * inverse : to_float(here.of[k]) - p[k];
                float w = g ? to_float(by.of[k]) : v;
                first[k] += w;
                second[k] += w * v;
            }
        }
    }
    for (int k = 0; k < 8; k++) {
        shared[threadIdx.x * 16 + k] = first[k];
        shared[threadIdx.x * 16 + 8 + k] = second[k];
    }
    __syncthreads();
    // Each of the width * 16 numbers is summed over the lanes by one thread.
    for (int number = threadIdx.x; number < width * 16; number += blockDim.x) {
        int column = number / 16, k = number % 16, to = blockIdx.y * width + column;
        if (to >= groups) continue;
        float sum = 0.0f;
        for (int l = 0; l < lanes; l++) sum += shared[(l * width + column) * 16 + k];
        partial[((long long)blockIdx.x * 2 + k / 8) * groups * 8 + to * 8 + k % 8] = sum;
    }
}

extern "C" __global__ void moments(const Eight* x, float* partial, long long rows, int rows_of_block, int width, int groups) {
    two_sums(x, 0, 0, 0, partial, rows, rows_of_block, width, groups);
}

extern "C" __global__ void gradient_sums(const Eight* x, const Eight* gradient, const float* mean, float* partial, long long rows,
                                         int rows_of_block, int width, int groups) {
    two_sums(x, gradient, mean, 0, partial, rows, rows_of_block, width, groups);
}

// Mean and biased variance of each channel; factor and offset with which a batch norm applies them.
extern "C" __global__ void moments_finish(const float* partial, const value* x, int blocks, double rows, double epsilon, const float* scale,
                                          const float* shift, float* mean, float* variance, float* inverse, float* factor, float* offset,
                                          int channels, int groups, long long count) {
    INDEX
    double first = 0.0, second = 0.0;
    for (int block = 0; block < blocks; block++) {
        first += partial[((long long)block * 2) * groups * 8 + at];
        second += partial[((long long)block * 2 + 1) * groups * 8 + at];
    }
    double shifted = first / rows, m = to_float(x[at]) + shifted, v = second / rows - shifted * shifted;
    if (v < 0.0) v = 0.0;
    double i = 1.0 / sqrt(v + epsilon), f = at < channels ? scale[at] * i : 0.0;
    mean[at] = (float)m;
    variance[at] = (float)v;
    inverse[at] = (float)i;
    factor[at] = (float)f;
    offset[at] = at < channels ? (float)(shift[at] - m * f) : 0.0f;
}

// Running statistics, moved towards those of a batch.
extern "C" __global__ void move_statistics(const float* old_mean, const float* old_variance, const float* mean, const float* variance,
                                           double momentum, double unbiased, float* new_mean, float* new_variance, long long count) {
    INDEX
    new_mean[at] = (float)(old_mean[at] * (1.0 - momentum) + mean[at] * momentum);
    new_variance[at] = (float)(old_variance[at] * (1.0 - momentum) + variance[at] * unbiased * momentum);
}

// The gradients by scale and shift, and the factors of the gradient by x, which is a * g + b * x + c.
extern "C" __global__ void gradient_finish(const float* partial, int blocks, double rows, const float* scale, const float* mean,
                                           const float* inverse, float unscale, float* by_scale, float* by_shift, float* a, float* b, float* c,
                                           int channels, int groups, long long count) {
    INDEX
    double plain = 0.0, with_x = 0.0;
    for (int block = 0; block < blocks; block++) {
        plain += partial[((long long)block * 2) * groups * 8 + at];
        with_x += partial[((long long)block * 2 + 1) * groups * 8 + at];
    }
    double along = with_x * inverse[at], slope = at < channels ? scale[at] * (double)inverse[at] : 0.0;
    double of_x = -slope * inverse[at] * along / rows;
    a[at] = (float)slope;
    b[at] = (float)of_x;
    c[at] = (float)(-slope * plain / rows - of_x * mean[at]);
    if (at < channels) {
        by_scale[at] = (float)(along * unscale);
        by_shift[at] = (float)(plain * unscale);
    }
}

extern "C" __global__ void combine(const Eight* x, const Eight* gradient, const float* a, const float* b, const float* c, Eight* out,
                                   int groups, long long count) {
    INDEX
    int channel = (int)(at % groups) * 8;
    Eight g = gradient[at], here = x[at];
    for (int k = 0; k < 8; k++)
        g.of[k] = from_float(a[channel + k] * to_float(g.of[k]) + b[channel + k] * to_float(here.of[k]) + c[channel + k]);
    out[at] = g;
}

// Sum over rows of values, for the gradient by a bias.
extern "C" __global__ void by_bias(const float* partial, int blocks, float scale, float* out, int groups, long long count) {
    INDEX
    double sum = 0.0;
    for (int block = 0; block < blocks; block++) sum += partial[((long long)block * 2) * groups * 8 + at];
    out[at] = (float)(sum * scale);
}
