
// Convolutions whose every filter reads one channel, its own. Filters are [tap, padded channel] in f32.

// From [channel, tap], each filter times its factor.
extern "C" __global__ void pack_depthwise(const float* weight, const float* factor, float* out, int channels, int taps, int groups,
                                          long long count) {
    INDEX
    int c = (int)(at % (groups * 8)), tap = (int)(at / (groups * 8));
    float v = c < channels ? weight[(long long)c * taps + tap] : 0.0f;
    out[at] = factor && c < channels ? v * factor[c] : v;
}

extern "C" __global__ void depthwise(const Eight* x, const float* filters, const float* bias, const Eight* other, int activation, Eight* out,
                                     Window window, int groups, long long count) {
    INDEX
    int group = (int)(at % groups);
    long long place = at / groups;
    int column = (int)(place % window.out_width), row = (int)(place / window.out_width % window.out_height);
    long long image = place / window.out_width / window.out_height;
    float sum[8];
    for (int k = 0; k < 8; k++) sum[k] = bias ? bias[group * 8 + k] : 0.0f;
    for (int i = 0; i < window.kernel_height; i++) {
        int y = row * window.stride_height - window.pad_height + i;
        if (y < 0 || y >= window.in_height) continue;
        for (int j = 0; j < window.kernel_width; j++) {
            int z = column * window.stride_width - window.pad_width + j;
            if (z < 0 || z >= window.in_width) continue;
            Eight here = x[((image * window.in_height + y) * window.in_width + z) * groups + group];
            const float* filter = filters + ((i * window.kernel_width + j) * groups + group) * 8;
            for (int k = 0; k < 8; k++) sum[k] += to_float(here.of[k]) * filter[k];
        }
    }
    Eight b, y;
    if (other) b = other[at];
    for (int k = 0; k < 8; k++) y.of[k] = from_float(activated(sum[k] + (other ? to_float(b.of[k]) : 0.0f), activation));
    out[at] = y;
}

// Each place gathers from the windows that it is in.
extern "C" __global__ void depthwise_by_input(const Eight* gradient, const float* filters, Eight* out, Window window, int groups,
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
            const float* filter = filters + ((i * window.kernel_width + j) * groups + group) * 8;
            for (int k = 0; k < 8; k++) sum[k] += to_float(here.of[k]) * filter[k];
        }
    }
    Eight y;
    for (int k = 0; k < 8; k++) y.of[k] = from_float(sum[k]);
    out[at] = y;
}

// Taps whose sums a thread keeps at a time.
#define TAPS 9

// Sums over rows of the output, divided among blocks as by `two_sums`, for TAPS taps from `first` on: partial [block, tap, padded channel].
extern "C" __global__ void depthwise_by_weight(const Eight* x, const Eight* gradient, float* partial, Window window, int first, long long rows,
                                               int rows_of_block, int width, int groups) {
    __shared__ float shared[256 * 8];
    int lanes = blockDim.x / width, lane = threadIdx.x / width, group = blockIdx.y * width + threadIdx.x % width;
    int taps = window.kernel_height * window.kernel_width;
    float sum[TAPS][8];
#pragma unroll
    for (int t = 0; t < TAPS; t++)
        for (int k = 0; k < 8; k++) sum[t][k] = 0.0f;
    if (lane < lanes && group < groups) {
        long long end = (long long)(blockIdx.x + 1) * rows_of_block;
        if (end > rows) end = rows;
        for (long long at = (long long)blockIdx.x * rows_of_block + lane; at < end; at += lanes) {
            int column = (int)(at % window.out_width), row = (int)(at / window.out_width % window.out_height);
            long long image = at / window.out_width / window.out_height;
            Eight by = gradient[at * groups + group];
#pragma unroll
            for (int t = 0; t < TAPS; t++) {
                int tap = first + t;
                int y = row * window.stride_height - window.pad_height + tap / window.kernel_width;
                int z = column * window.stride_width - window.pad_width + tap % window.kernel_width;
                if (tap >= taps || y < 0 || y >= window.in_height || z < 0 || z >= window.in_width) continue;
                Eight here = x[((image * window.in_height + y) * window.in_width + z) * groups + group];
                for (int k = 0; k < 8; k++) sum[t][k] += to_float(by.of[k]) * to_float(here.of[k]);
            }
        }
    }
#pragma unroll
    for (int t = 0; t < TAPS; t++) {
        if (first + t >= taps) break;
        for (int k = 0; k < 8; k++) shared[threadIdx.x * 8 + k] = sum[t][k];
        __syncthreads();
        for (int number = threadIdx.x; number < width * 8; number += blockDim.x) {
            int to = blockIdx.y * width + number / 8;
            if (to >= groups) continue;
            float all = 0.0f;
            for (int l = 0; l < lanes; l++) all += shared[(l * width + number / 8) * 8 + number % 8];
            partial[(((long long)blockIdx.x * taps + first + t) * groups + to) * 8 + number % 8] = all;
        }
        __syncthreads();
    }
}

// From the blocks' sums to [channel, tap].
extern "C" __global__ void depthwise_weight_finish(const float* partial, int blocks, float scale, float* out, int taps, int groups,
                                                   long long count) {
    INDEX
    long long c = at / taps, tap = at % taps;
    double sum = 0.0;
    for (int block = 0; block < blocks; block++) sum += partial[((long long)block * taps + tap) * groups * 8 + c];
    out[at] = (float)(sum * scale);
}
