// What belongs to no network: losses, steps of attacks and of the optimiser, all in f32. Follows kernels.cu.

// Cross-entropy of each image; one warp for each.
static __device__ float row_maximum(const float* row, int classes, int lane) {
    float most = -__int_as_float(0x7f800000);
    for (int c = lane; c < classes; c += 32) most = fmaxf(most, row[c]);
    for (int step = 16; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
    return most;
}

static __device__ float row_total(const float* row, int classes, int lane, float most) {
    float total = 0.0f;
    for (int c = lane; c < classes; c += 32) total += expf(row[c] - most);
    for (int step = 16; step > 0; step /= 2) total += __shfl_xor_sync(0xffffffffu, total, step);
    return total;
}

extern "C" __global__ void cross_entropy(const float* logits, const unsigned* labels, float* out, int classes, long long count) {
    long long image = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32;
    if (image >= count) return;
    const float* row = logits + image * classes;
    float most = row_maximum(row, classes, lane), total = row_total(row, classes, lane, most);
    if (lane == 0) out[image] = logf(total) - (row[labels[image]] - most);
}

// Its gradient by the logits, times that by the loss of each image.
extern "C" __global__ void cross_entropy_gradient(const float* logits, const unsigned* labels, const float* by_loss, float* out, int classes,
                                                  long long count) {
    long long image = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32;
    if (image >= count) return;
    const float* row = logits + image * classes;
    float most = row_maximum(row, classes, lane), total = row_total(row, classes, lane, most);
    for (int c = lane; c < classes; c += 32)
        out[image * classes + c] = by_loss[image] * (expf(row[c] - most) / total - (c == labels[image] ? 1.0f : 0.0f));
}

// Two rows of logits, what their softmax divides by, and their divergence KL(p || q); computed by a warp.
struct Divergence {
    const float *p, *q;
    float p_most, p_total, q_most, q_total, shift, sum;
};

static __device__ Divergence divergence(const float* p, const float* q, int classes, int lane) {
    Divergence d = {p, q};
    d.p_most = row_maximum(p, classes, lane), d.p_total = row_total(p, classes, lane, d.p_most);
    d.q_most = row_maximum(q, classes, lane), d.q_total = row_total(q, classes, lane, d.q_most);
    d.shift = logf(d.q_total) + d.q_most - logf(d.p_total) - d.p_most;
    d.sum = 0.0f;
    for (int c = lane; c < classes; c += 32) d.sum += expf(p[c] - d.p_most) / d.p_total * (p[c] - q[c] + d.shift);
    for (int step = 16; step > 0; step /= 2) d.sum += __shfl_xor_sync(0xffffffffu, d.sum, step);
    return d;
}

extern "C" __global__ void kl_divergence(const float* p, const float* q, float* out, int classes, long long count) {
    long long image = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32;
    if (image >= count) return;
    Divergence d = divergence(p + image * classes, q + image * classes, classes, lane);
    if (lane == 0) out[image] = d.sum;
}

// Its gradients by both, each where it is wanted, times that by the divergence of each image.
extern "C" __global__ void kl_divergence_gradient(const float* p, const float* q, const float* by_loss, float* by_p, float* by_q, int classes,
                                                  long long count) {
    long long image = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32;
    if (image >= count) return;
    Divergence d = divergence(p + image * classes, q + image * classes, classes, lane);
    for (int c = lane; c < classes; c += 32) {
        float share = expf(d.p[c] - d.p_most) / d.p_total, other = expf(d.q[c] - d.q_most) / d.q_total;
        if (by_p) by_p[image * classes + c] = by_loss[image] * share * (d.p[c] - d.q[c] + d.shift - d.sum);
        if (by_q) by_q[image * classes + c] = by_loss[image] * (other - share);
    }
}

// A step along the sign of the gradient, put back into the L-inf ball around the clean image and into [0, 1].
extern "C" __global__ void ascend_linf(const float* images, const float* clean, const float* gradient, float step, float epsilon, float* out,
                                       long long count) {
    INDEX
    float g = gradient[at], c = clean[at];
    float y = images[at] + step * (float)((g > 0.0f) - (g < 0.0f));
    y = fminf(fmaxf(y, c - epsilon), c + epsilon);
    out[at] = fminf(fmaxf(y, 0.0f), 1.0f);
}

// The optimiser's step for all parameters at once; blocks along y are parameters.
struct Parameter {
    float* weight;
    const float* gradient;
    const float* velocity; // none at first
    float* new_velocity;
    long long count;
    float decay;
    float unused;
};

extern "C" __global__ void sgd(const Parameter* parameters, float scale, float momentum, int nesterov, float rate) {
    Parameter p = parameters[blockIdx.y];
    for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < p.count; at += (long long)gridDim.x * blockDim.x) {
        float w = p.weight[at];
        float d = p.gradient[at] * scale + w * p.decay;
        if (p.new_velocity) {
            float v = p.velocity ? p.velocity[at] * momentum + d : d;
            p.new_velocity[at] = v;
            d = nesterov ? d + v * momentum : v;
        }
        p.weight[at] = w - d * rate;
    }
}

// Where a pixel comes from along one side; -1 outside the image where it does not reflect, which is without repeating the edge.
static __device__ __forceinline__ int source(int at, int size, int reflects) {
    if (!reflects) return at >= 0 && at < size ? at : -1;
    if (size == 1) return 0;
    int period = 2 * (size - 1), folded = at % period;
    if (folded < 0) folded += period;
    return folded < period - folded ? folded : period - folded;
}

// A batch [batch, channel, row, column] from the bytes of all images. For each image of the batch there are eight numbers: which it is, how
// far down and how far right its pixels come from, whether it is mirrored, and which part is blanked: from a row to a row, from a column to
// a column, the latter not included.
extern "C" __global__ void augment(const unsigned char* data, const int* numbers, const float* fill, float scale, int reflects, float* out,
                                   int channels, int height, int width, long long count) {
    INDEX
    int column = (int)(at % width), row = (int)(at / width % height);
    int channel = (int)(at / width / height % channels);
    const int* own = numbers + at / width / height / channels * 8;
    if (row >= own[4] && row < own[5] && column >= own[6] && column < own[7]) {
        out[at] = fill[channel];
        return;
    }
    int y = source(row + own[1], height, reflects);
    int x = source((own[3] ? width - 1 - column : column) + own[2], width, reflects);
    long long plane = (long long)own[0] * channels + channel;
    out[at] = y < 0 || x < 0 ? 0.0f : (float)data[(plane * height + y) * width + x] * scale;
}
