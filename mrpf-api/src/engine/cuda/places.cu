
// Steps that move values, or sum them over places, without weights.

// Each place of the output is a sum of shares of the input's places, entries `starts[place]` to `starts[place + 1]`; `channels` are the first
// ones that both have, behind which the output is zero.
extern "C" __global__ void sum_places(const Eight* x, const unsigned* starts, const unsigned* places, const float* shares, Eight* out,
                                      int in_places, int out_places, int channels, int in_groups, int out_groups, long long count) {
    INDEX
    int group = (int)(at % out_groups), place = (int)(at / out_groups % out_places);
    long long image = at / out_groups / out_places;
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (group * 8 < channels)
        for (unsigned entry = starts[place]; entry < starts[place + 1]; entry++) {
            Eight here = x[(image * in_places + places[entry]) * in_groups + group];
            for (int k = 0; k < 8; k++) sum[k] += shares[entry] * to_float(here.of[k]);
        }
    Eight y;
    for (int k = 0; k < 8; k++) y.of[k] = from_float(group * 8 + k < channels ? sum[k] : 0.0f);
    out[at] = y;
}

// Puts `channels` channels of each row behind `offset` others, and zeros behind them up to `width` in all.
extern "C" __global__ void join(const value* x, value* out, int offset, int channels, int width, int in_groups, int out_groups,
                                long long count) {
    INDEX
    int c = (int)(at % width);
    long long row = at / width;
    out[row * out_groups * 8 + offset + c] = c < channels ? x[row * in_groups * 8 + c] : from_float(0.0f);
}

// The other way round: takes `channels` channels from behind `offset` others.
extern "C" __global__ void part(const value* x, value* out, int offset, int channels, int in_groups, int out_groups, long long count) {
    INDEX
    int c = (int)(at % (out_groups * 8));
    long long row = at / (out_groups * 8);
    out[at] = c < channels ? x[row * in_groups * 8 + offset + c] : from_float(0.0f);
}

// One row of each image, channel after channel.
extern "C" __global__ void flatten(const value* x, value* out, int pixels, int channels, int in_groups, int out_groups, long long count) {
    INDEX
    int f = (int)(at % (out_groups * 8));
    long long image = at / (out_groups * 8);
    out[at] = f < channels * pixels ? x[(image * pixels + f % pixels) * in_groups * 8 + f / pixels] : from_float(0.0f);
}

extern "C" __global__ void flatten_gradient(const value* gradient, value* out, int pixels, int channels, int in_groups, int out_groups,
                                            long long count) {
    INDEX
    int c = (int)(at % (in_groups * 8));
    long long pixel = at / (in_groups * 8) % pixels, image = at / (in_groups * 8) / pixels;
    out[at] = c < channels ? gradient[image * out_groups * 8 + c * pixels + pixel] : from_float(0.0f);
}
