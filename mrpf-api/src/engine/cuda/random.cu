// Random numbers [image, number] for images that have a key each: those that the CPU draws from ChaCha8's stream. Follows kernels.cu.

static __device__ __forceinline__ unsigned rotate(unsigned x, int by) { return (x << by) | (x >> (32 - by)); }

#define QUARTER(a, b, c, d)                \
    s[a] += s[b], s[d] = rotate(s[d] ^ s[a], 16); \
    s[c] += s[d], s[b] = rotate(s[b] ^ s[c], 12); \
    s[a] += s[b], s[d] = rotate(s[d] ^ s[a], 8);  \
    s[c] += s[d], s[b] = rotate(s[b] ^ s[c], 7);

// A block of a key's stream: eight words of 64 bits.
static __device__ __forceinline__ void stream_block(const unsigned* key, unsigned block, unsigned long long words[8]) {
    unsigned s[16], start[16] = {0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u};
    for (int k = 0; k < 8; k++) start[4 + k] = key[k];
    start[12] = block;
    start[13] = start[14] = start[15] = 0;
    for (int k = 0; k < 16; k++) s[k] = start[k];
    for (int round = 0; round < 4; round++) {
        QUARTER(0, 4, 8, 12)
        QUARTER(1, 5, 9, 13)
        QUARTER(2, 6, 10, 14)
        QUARTER(3, 7, 11, 15)
        QUARTER(0, 5, 10, 15)
        QUARTER(1, 6, 11, 12)
        QUARTER(2, 7, 8, 13)
        QUARTER(3, 4, 9, 14)
    }
    for (int k = 0; k < 8; k++)
        words[k] = (unsigned long long)(s[2 * k] + start[2 * k]) | (unsigned long long)(s[2 * k + 1] + start[2 * k + 1]) << 32;
}

// A word as a number in [0, 1), and as one in (0, 1).
static __device__ __forceinline__ double unit(unsigned long long word) { return (double)(word >> 11) * 1.1102230246251565e-16; } // 2^-53
static __device__ __forceinline__ double open_unit(unsigned long long word) {
    return __longlong_as_double((long long)(word >> 12 | 0x3ff0000000000000ull)) - (1.0 - 1.1102230246251565e-16);
}

// Uniform numbers in [low, low + width), a word each. A thread makes one block of a stream.
extern "C" __global__ void uniform(const unsigned* keys, double low, double width, float* out, int each, int blocks, long long count) {
    INDEX
    unsigned block = (unsigned)(at % blocks);
    long long image = at / blocks;
    unsigned long long words[8];
    stream_block(keys + image * 8, block, words);
    for (int k = 0; k < 8; k++) {
        long long place = (long long)block * 8 + k;
        if (place >= each) return;
        // Not contracted, as on the CPU.
        out[image * each + place] = (float)__dadd_rn(low, __dmul_rn(width, unit(words[k])));
    }
}

// Words of a stream that are looked at together, eight for each thread of a block, and the numbers of 32 bits that have a bit for each.
#define CHUNK 2048
#define MASKS (CHUNK / 32)
// Layers of the ziggurat.
#define LAYERS 256

// A word of a stream by its place in the chunk or after it.
static __device__ __forceinline__ unsigned long long stream_word(const unsigned* key, unsigned chunk, const unsigned long long* words, int at) {
    if (at < CHUNK) return words[at];
    unsigned long long other[8], found = 0;
    stream_block(key, chunk * (CHUNK / 8) + at / 8, other);
    for (int k = 0; k < 8; k++)
        if (at % 8 == k) found = other[k];
    return found;
}

// What a try of the ziggurat that begins with a word gives.
struct Try {
    double normal;
    int taken; // words
    bool is_given; // whether it is a number at all; otherwise the next word begins another try
};

// A try whose first word is not enough, at a place in the chunk.
static __device__ Try long_try(const unsigned* key, unsigned chunk, const unsigned long long* words, const double* edges, const double* heights,
                               int at, int layer, double place, double x) {
    if (layer > 0) {
        double low = heights[layer + 1], high = heights[layer];
        double up = __dadd_rn(low, __dmul_rn(high - low, unit(stream_word(key, chunk, words, at + 1))));
        return {x, 2, up < exp(-x * x / 2.0)};
    }
    double end = edges[1], along, up;
    int taken = 1;
    do {
        along = log(open_unit(stream_word(key, chunk, words, at + taken))) / end;
        up = log(open_unit(stream_word(key, chunk, words, at + taken + 1)));
        taken += 2;
    } while (-2.0 * up < along * along);
    return {place < 0.0 ? along - end : end - along, taken, true};
}

// Standard normal numbers by the ziggurat of the CPU's library, whose edges and heights are in `tables`; one block for each image.
//
// Which word begins a number depends on all words before: nearly all numbers take one, a few take more, or give nothing. All words of a
// chunk are tried at once, as if each began a number; then one thread goes over those few whose try is long and takes out what an earlier
// try has taken.
extern "C" __global__ void normal(const unsigned* keys, const double* tables, float* out, int each) {
    __shared__ unsigned long long words[CHUNK];
    __shared__ int taken[CHUNK]; // of long tries only
    __shared__ unsigned is_long[MASKS], is_given[MASKS];
    __shared__ int before[MASKS]; // numbers of the image
    __shared__ int drawn, next;   // numbers of the image, and where in the chunk the next one begins
    __shared__ double edges[LAYERS + 1];
    __shared__ unsigned key[8];
    const double* heights = tables + LAYERS + 1;
    for (int at = threadIdx.x; at <= LAYERS; at += blockDim.x) edges[at] = tables[at];
    if (threadIdx.x < 8) key[threadIdx.x] = keys[(long long)blockIdx.x * 8 + threadIdx.x];
    if (threadIdx.x == 0) drawn = next = 0;
    __syncthreads();
    int lane = threadIdx.x % 32;
    for (unsigned chunk = 0;; chunk++) {
        unsigned long long own[8];
        stream_block(key, chunk * (CHUNK / 8) + threadIdx.x, own);
        for (int k = 0; k < 8; k++) words[threadIdx.x * 8 + k] = own[k];
        __syncthreads();
        float normals[8];
        for (int k = 0; k < 8; k++) {
            int at = k * (CHUNK / 8) + threadIdx.x;
            unsigned long long word = words[at];
            int layer = (int)(word & 0xff);
            double place = __longlong_as_double((long long)(word >> 12 | 0x4000000000000000ull)) - 3.0;
            double x = __dmul_rn(place, edges[layer]);
            bool is_short = fabs(x) < edges[layer + 1];
            Try tried = {x, 1, true};
            if (!is_short) {
                tried = long_try(key, chunk, words, edges, heights, at, layer, place, x);
                taken[at] = tried.taken;
            }
            normals[k] = (float)tried.normal;
            unsigned longs = __ballot_sync(0xffffffffu, !is_short), given = __ballot_sync(0xffffffffu, tried.is_given);
            if (lane == 0) is_long[at / 32] = longs, is_given[at / 32] = given;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int mask = 0; mask < MASKS; mask++) {
                int start = next - mask * 32;
                unsigned left = start <= 0 ? 0xffffffffu : start < 32 ? 0xffffffffu << start : 0;
                unsigned longs = is_long[mask] & left, given = is_given[mask] & left;
                while (longs) {
                    int at = __ffs(longs) - 1, end = at + taken[mask * 32 + at];
                    unsigned after = end < 32 ? 0xffffffffu << end : 0;
                    given &= after | ((2u << at) - 1);
                    longs &= after;
                    next = mask * 32 + end;
                }
                is_given[mask] = given;
                before[mask] = drawn;
                drawn += __popc(given);
            }
            next = next > CHUNK ? next - CHUNK : 0;
        }
        __syncthreads();
        for (int k = 0; k < 8; k++) {
            int mask = (k * (CHUNK / 8) + threadIdx.x) / 32;
            unsigned given = is_given[mask];
            int number = before[mask] + __popc(given & ((1u << lane) - 1));
            if (given >> lane & 1 && number < each) out[(long long)blockIdx.x * each + number] = normals[k];
        }
        if (drawn >= each) return;
    }
}
