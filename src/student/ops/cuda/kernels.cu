// The decoder's operations for NVIDIA GPUs: what cuBLAS does not do.
//
// Numbers lie in memory as f32 or bf16 and are computed with in f32. No atomics: every sum has one order, so that a
// result is the same bit for bit each time. No header and no warp intrinsic, so that the run-time compiler needs
// nothing but this text, and so that a test can compile it for a processor (`tests/cuda_on_cpu`).

typedef unsigned int u32;
typedef unsigned long long u64;

#define THREADS 256
// The square root of THREADS: threads that add up the block's numbers, and numbers for each.
#define ADDERS 16
// Numbers of a parameter that one block updates.
#define CHUNK 4096
// Rows that one block adds up.
#define PIECE 64

#ifndef KERNEL
#define KERNEL(name, ...) extern "C" __global__ void __launch_bounds__(THREADS) name(__VA_ARGS__)
#endif

struct bf16 {
    unsigned short bits;
};

__device__ float load(const float *from, u64 place) { return from[place]; }

__device__ float load(const bf16 *from, u64 place) { return __uint_as_float((u32)from[place].bits << 16); }

__device__ void store(float *to, u64 place, float value) { to[place] = value; }

// Rounds to the nearest, and to the even one of two that are as near.
__device__ void store(bf16 *to, u64 place, float value) {
    u32 bits = __float_as_uint(value);
    bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    to[place].bits = (unsigned short)(is_nan ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// The number of this thread among those of all blocks in a row.
__device__ u64 element() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }

// The sum over the block's threads, which each of them gets.
__device__ float block_sum(float value) {
    __shared__ float values[THREADS];
    __shared__ float sums[ADDERS];
    u32 own = threadIdx.x;
    values[own] = value;
    __syncthreads();
    if (own < ADDERS) {
        float sum = 0.0f;
        for (u32 i = 0; i < THREADS / ADDERS; i++) sum += values[i * ADDERS + own];
        sums[own] = sum;
    }
    __syncthreads();
    float total = 0.0f;
    for (u32 i = 0; i < ADDERS; i++) total += sums[i];
    return total;
}

__device__ float block_max(float value) {
    __shared__ float values[THREADS];
    __shared__ float largest[ADDERS];
    u32 own = threadIdx.x;
    values[own] = value;
    __syncthreads();
    if (own < ADDERS) {
        float most = values[own];
        for (u32 i = 1; i < THREADS / ADDERS; i++) most = fmaxf(most, values[i * ADDERS + own]);
        largest[own] = most;
    }
    __syncthreads();
    float most = largest[0];
    for (u32 i = 1; i < ADDERS; i++) most = fmaxf(most, largest[i]);
    return most;
}

// Norms. One block has one row; `centred` makes a layer norm of what is a root-mean-square norm otherwise.

template <class X>
__device__ void statistics(const X *x, u32 width, float eps, u32 centred, float *mean, float *scale) {
    float sum = 0.0f;
    if (centred) {
        for (u32 c = threadIdx.x; c < width; c += THREADS) sum += load(x, c);
        sum = block_sum(sum) / width;
    }
    float squares = 0.0f;
    for (u32 c = threadIdx.x; c < width; c += THREADS) {
        float apart = load(x, c) - sum;
        squares += apart * apart;
    }
    *mean = sum;
    *scale = 1.0f / sqrtf(block_sum(squares) / width + eps);
}

template <class X, class W>
__device__ void norm_forward(const X *x, const W *weight, const W *bias, X *y, u32 width, float eps, u32 centred) {
    u64 row = (u64)blockIdx.x * width;
    float mean, scale;
    statistics(x + row, width, eps, centred, &mean, &scale);
    for (u32 c = threadIdx.x; c < width; c += THREADS) {
        float value = (load(x, row + c) - mean) * scale * load(weight, c);
        store(y, row + c, bias ? value + load(bias, c) : value);
    }
}

// The gradient of x where it is wanted, and each row's mean and scale for the gradients of the weights.
template <class X, class W>
__device__ void norm_backward(const X *x, const W *weight, const X *dy, X *dx, float *kept, u32 width, float eps,
                              u32 centred) {
    u64 row = (u64)blockIdx.x * width;
    float mean, scale;
    statistics(x + row, width, eps, centred, &mean, &scale);
    if (kept && threadIdx.x == 0) {
        kept[2 * (u64)blockIdx.x] = mean;
        kept[2 * (u64)blockIdx.x + 1] = scale;
    }
    if (!dx) return;
    float sum = 0.0f, along = 0.0f;
    for (u32 c = threadIdx.x; c < width; c += THREADS) {
        float slope = load(dy, row + c) * load(weight, c);
        sum += slope;
        along += slope * (load(x, row + c) - mean);
    }
    sum = centred ? block_sum(sum) / width : 0.0f;
    along = block_sum(along) * scale / width;
    for (u32 c = threadIdx.x; c < width; c += THREADS) {
        float slope = load(dy, row + c) * load(weight, c);
        store(dx, row + c, scale * (slope - sum - (load(x, row + c) - mean) * scale * along));
    }
}

// Gradients of a norm's weights over one piece of the rows: (pieces, columns), with the bias's beside the weight's.
template <class X>
__device__ void norm_weight_sums(const X *x, const X *dy, const float *kept, float *sums, u32 rows, u32 width,
                                 u32 centred) {
    u64 c = element();
    if (c >= width) return;
    float dweight = 0.0f, dbias = 0.0f;
    u32 until = min((blockIdx.y + 1) * PIECE, rows);
    for (u64 row = blockIdx.y * PIECE; row < until; row++) {
        float slope = load(dy, row * width + c);
        dweight += slope * (load(x, row * width + c) - kept[2 * row]) * kept[2 * row + 1];
        dbias += slope;
    }
    u64 piece = (u64)blockIdx.y * (centred ? 2 * width : width);
    sums[piece + c] = dweight;
    if (centred) sums[piece + width + c] = dbias;
}

#define NORM(X, W, types)                                                                                             \
    KERNEL(norm_forward_##types, const X *x, const W *weight, const W *bias, X *y, u32 width, float eps, u32 centred) {\
        norm_forward(x, weight, bias, y, width, eps, centred);                                                        \
    }                                                                                                                 \
    KERNEL(norm_backward_##types, const X *x, const W *weight, const X *dy, X *dx, float *kept, u32 width, float eps, \
           u32 centred) {                                                                                             \
        norm_backward(x, weight, dy, dx, kept, width, eps, centred);                                                  \
    }
NORM(float, float, f32_f32)
NORM(bf16, bf16, bf16_bf16)
NORM(bf16, float, bf16_f32)

// Sums of columns: a piece of the rows each, and then the pieces in their order.

template <class X>
__device__ void column_sums(const X *x, float *sums, u32 rows, u32 width) {
    u64 c = element();
    if (c >= width) return;
    float sum = 0.0f;
    u32 until = min((blockIdx.y + 1) * PIECE, rows);
    for (u64 row = blockIdx.y * PIECE; row < until; row++) sum += load(x, row * width + c);
    sums[(u64)blockIdx.y * width + c] = sum;
}

template <class Y>
__device__ void add_pieces(const float *sums, Y *y, u32 pieces, u32 columns) {
    u64 c = element();
    if (c >= columns) return;
    float sum = 0.0f;
    for (u64 piece = 0; piece < pieces; piece++) sum += sums[piece * columns + c];
    store(y, c, sum);
}

// Activations, in the order of `Activation`.

__device__ void curve(u32 kind, float x, float *value, float *slope) {
    if (kind == 0) {
        // x σ(2u), which is the tanh form of GELU.
        float gate = 1.0f / (1.0f + expf(-2.0f * 0.7978846f * (x + 0.044715f * x * x * x)));
        *value = x * gate;
        *slope = gate + x * gate * (1.0f - gate) * 0.7978846f * (2.0f + 6.0f * 0.044715f * x * x);
    } else if (kind == 1) {
        float share = 0.5f + 0.5f * erff(x * 0.70710678f);
        *value = x * share;
        *slope = share + x * 0.3989423f * expf(-0.5f * x * x);
    } else if (kind == 2) {
        float gate = 1.0f / (1.0f + expf(-x));
        *value = x * gate;
        *slope = gate * (1.0f + x * (1.0f - gate));
    } else {
        *value = x > 0.0f ? x : 0.0f;
        *slope = x > 0.0f ? 1.0f : 0.0f;
    }
}

template <class T>
__device__ void activate(const T *x, T *y, u64 n, u32 kind) {
    u64 i = element();
    if (i >= n) return;
    float value, slope;
    curve(kind, load(x, i), &value, &slope);
    store(y, i, value);
}

template <class T>
__device__ void activate_backward(const T *x, const T *dy, T *dx, u64 n, u32 kind) {
    u64 i = element();
    if (i >= n) return;
    float value, slope;
    curve(kind, load(x, i), &value, &slope);
    store(dx, i, load(dy, i) * slope);
}

// Gates beside values: x (rows, 2 inner), y (rows, inner); n counts the numbers of y.
template <class T>
__device__ void gate(const T *x, T *y, u64 n, u32 inner, u32 kind) {
    u64 i = element();
    if (i >= n) return;
    u64 at = i / inner * 2 * inner + i % inner;
    float value, slope;
    curve(kind, load(x, at), &value, &slope);
    store(y, i, value * load(x, at + inner));
}

template <class T>
__device__ void gate_backward(const T *x, const T *dy, T *dx, u64 n, u32 inner, u32 kind) {
    u64 i = element();
    if (i >= n) return;
    u64 at = i / inner * 2 * inner + i % inner;
    float value, slope, from = load(dy, i);
    curve(kind, load(x, at), &value, &slope);
    store(dx, at, from * load(x, at + inner) * slope);
    store(dx, at + inner, from * value);
}

template <class T>
__device__ void add_bias(T *y, const T *bias, u64 n, u32 width) {
    u64 i = element();
    if (i < n) store(y, i, load(y, i) + load(bias, i % width));
}

// Dropout. A number stays if its random bits, made of its place and the key alone, reach the threshold.

__device__ u32 scramble(u32 counter, u32 key) {
    u32 h = (counter * 0x9e3779b1u) ^ key;
    h = (h ^ (h >> 16)) * 0x85ebca6bu;
    h = (h ^ (h >> 13)) * 0xc2b2ae35u;
    return h ^ (h >> 16);
}

// y = x + dropout(r); x may be left out.
template <class T>
__device__ void add_dropped(const T *x, const T *r, T *y, u64 n, u32 key, u32 threshold, float keep) {
    u64 i = element();
    if (i >= n) return;
    float value = load(r, i) * (scramble((u32)i, key) >= threshold ? keep : 0.0f);
    store(y, i, x ? load(x, i) + value : value);
}

// sum += piece, which lies in strips of n numbers; strips of the sum are `apart`.
template <class T>
__device__ void add_into(float *sum, const T *piece, u64 n, u64 strip, u64 apart, u64 from) {
    u64 i = element();
    if (i < n) sum[i / strip * apart + from + i % strip] += load(piece, i);
}

// Attention. The packed projection (batch, time, heads of queries, of keys, of values) is taken apart into (batch,
// heads, time, head) each, queries and keys turned by their places; the gradients go the other way.

struct Place {
    u64 to;
    u32 part, within;
    u64 at_time;
};

__device__ Place place_of(u64 i, u32 time, u32 heads, u32 kv_heads, u32 head) {
    u32 columns = (heads + 2 * kv_heads) * head;
    u64 row = i / columns;
    u32 column = (u32)(i % columns), number = column / head;
    Place place;
    place.part = number < heads ? 0 : number < heads + kv_heads ? 1 : 2;
    u32 own = place.part == 0 ? number : place.part == 1 ? number - heads : number - heads - kv_heads;
    place.within = column % head;
    place.at_time = row % time;
    place.to = ((row / time * (place.part == 0 ? heads : kv_heads) + own) * time + place.at_time) * head + place.within;
    return place;
}

template <class T>
__device__ void split_heads(const T *packed, const float *cosines, const float *sines, T *q, T *k, T *v, u64 n,
                            u32 time, u32 heads, u32 kv_heads, u32 head, u32 half) {
    u64 i = element();
    if (i >= n) return;
    Place place = place_of(i, time, heads, kv_heads, head);
    float value = load(packed, i);
    if (place.part < 2 && place.within < 2 * half) {
        bool is_first = place.within < half;
        u64 angle = place.at_time * half + (is_first ? place.within : place.within - half);
        float other = load(packed, is_first ? i + half : i - half);
        value = value * cosines[angle] + (is_first ? -other : other) * sines[angle];
    }
    store(place.part == 0 ? q : place.part == 1 ? k : v, place.to, value);
}

template <class T>
__device__ void join_heads(const T *dq, const T *dk, const T *dv, const float *cosines, const float *sines, T *dpacked,
                           u64 n, u32 time, u32 heads, u32 kv_heads, u32 head, u32 half) {
    u64 i = element();
    if (i >= n) return;
    Place place = place_of(i, time, heads, kv_heads, head);
    const T *from = place.part == 0 ? dq : place.part == 1 ? dk : dv;
    float value = load(from, place.to);
    if (place.part < 2 && place.within < 2 * half) {
        bool is_first = place.within < half;
        u64 angle = place.at_time * half + (is_first ? place.within : place.within - half);
        float other = load(from, is_first ? place.to + half : place.to - half);
        value = value * cosines[angle] + (is_first ? other : -other) * sines[angle];
    }
    store(dpacked, i, value);
}

// One row of scores: which query of which head it belongs to, and which of the block's keys that query sees.
struct Row {
    u64 query;
    u32 begin, end, counter;
};

__device__ Row row_of(u64 row, u32 rows, u32 first, u32 first_head, u32 first_key, u32 time, u32 window) {
    u32 query = first + (u32)(row % rows);
    u64 head = first_head + row / rows;
    Row found;
    found.query = head * time + query;
    u32 seen = query + 1 > window ? query + 1 - window : 0;
    found.begin = seen - first_key;
    found.end = query + 1 - first_key;
    // The place of the first key's weight among all weights, whose low bits dropout counts with.
    found.counter = (u32)found.query * time + first_key;
    return found;
}

__device__ float bent(float score, float scale, float cap) {
    return cap > 0.0f ? cap * tanhf(score * scale / cap) : score * scale;
}

// Turns scores (heads · rows, count) into the weights of attention where they lie, and keeps each row's log sum.
template <class T>
__device__ void attention_weights(T *scores, float *log_sums, u32 count, u32 rows, u32 first, u32 first_head,
                                  u32 first_key, u32 time, u32 window, float scale, float cap, u32 key, u32 threshold,
                                  float keep) {
    Row row = row_of(blockIdx.x, rows, first, first_head, first_key, time, window);
    T *own = scores + (u64)blockIdx.x * count;
    float largest = -3.0e38f;
    for (u32 c = row.begin + threadIdx.x; c < row.end; c += THREADS) {
        largest = fmaxf(largest, bent(load(own, c), scale, cap));
    }
    largest = block_max(largest);
    float sum = 0.0f;
    for (u32 c = row.begin + threadIdx.x; c < row.end; c += THREADS) {
        sum += expf(bent(load(own, c), scale, cap) - largest);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) log_sums[row.query] = largest + logf(sum);
    for (u32 c = threadIdx.x; c < count; c += THREADS) {
        float weight = 0.0f;
        if (c >= row.begin && c < row.end && scramble(row.counter + c, key) >= threshold) {
            weight = expf(bent(load(own, c), scale, cap) - largest) / sum * keep;
        }
        store(own, c, weight);
    }
}

// The weights once more, dropped, in place of the scores, and in place of their gradient that of the scores.
template <class T>
__device__ void attention_backward(T *scores, T *gradient, const float *log_sums, const float *along, u32 count,
                                   u32 rows, u32 first, u32 first_head, u32 first_key, u32 time, u32 window,
                                   float scale, float cap, u32 key, u32 threshold, float keep) {
    u32 c = blockIdx.y * THREADS + threadIdx.x;
    if (c >= count) return;
    Row row = row_of(blockIdx.x, rows, first, first_head, first_key, time, window);
    u64 at = (u64)blockIdx.x * count + c;
    float weight = 0.0f, slope = 0.0f;
    if (c >= row.begin && c < row.end) {
        float score = bent(load(scores, at), scale, cap);
        float kept = scramble(row.counter + c, key) >= threshold ? keep : 0.0f;
        float share = expf(score - log_sums[row.query]);
        weight = share * kept;
        slope = share * (load(gradient, at) * kept - along[row.query]) * scale;
        if (cap > 0.0f) slope *= 1.0f - score / cap * (score / cap);
    }
    store(scores, at, weight);
    store(gradient, at, slope);
}

// Σ y · dy over each head: (batch, heads, time) of (batch, time, heads, head).
template <class T>
__device__ void head_dots(const T *y, const T *dy, float *dots, u64 n, u32 time, u32 heads, u32 head) {
    u64 i = element();
    if (i >= n) return;
    float sum = 0.0f;
    for (u32 c = 0; c < head; c++) sum += load(y, i * head + c) * load(dy, i * head + c);
    u64 row = i / heads;
    dots[(row / time * heads + i % heads) * time + row % time] = sum;
}

// Cross-entropy of one row of logits, and in their place its gradient: weight · (softmax - onehot), through the cap.
template <class T>
__device__ void cross_entropy(T *logits, const T *bias, const u32 *targets, const float *weights, float *losses,
                              u32 vocabulary, float cap, u32 differentiated) {
    T *own = logits + (u64)blockIdx.x * vocabulary;
    u32 target = targets[blockIdx.x];
    float largest = -3.0e38f;
    for (u32 c = threadIdx.x; c < vocabulary; c += THREADS) {
        largest = fmaxf(largest, bent(load(own, c) + (bias ? load(bias, c) : 0.0f), 1.0f, cap));
    }
    largest = block_max(largest);
    float wanted = bent(load(own, target) + (bias ? load(bias, target) : 0.0f), 1.0f, cap);
    float sum = 0.0f;
    for (u32 c = threadIdx.x; c < vocabulary; c += THREADS) {
        sum += expf(bent(load(own, c) + (bias ? load(bias, c) : 0.0f), 1.0f, cap) - largest);
    }
    // Nobody writes before everybody has read the target's logit: the sum waits for all.
    sum = block_sum(sum);
    if (threadIdx.x == 0) losses[blockIdx.x] = logf(sum) + largest - wanted;
    if (!differentiated) return;
    float weight = weights[blockIdx.x], share = weight / sum;
    for (u32 c = threadIdx.x; c < vocabulary; c += THREADS) {
        float logit = bent(load(own, c) + (bias ? load(bias, c) : 0.0f), 1.0f, cap);
        float slope = expf(logit - largest) * share - (c == target ? weight : 0.0f);
        store(own, c, cap > 0.0f ? slope * (1.0f - logit / cap * (logit / cap)) : slope);
    }
}

// Rows added to those of a table. Pieces of up to PIECE rows of one id, (from, until, to, is_whole) in `order`: a piece
// that is all of its id goes straight into the table, another among the parts, which `add_parts` adds up.
template <class T>
__device__ void add_rows(const T *rows, float *table, float *parts, const u32 *order, const u32 *pieces, u32 width) {
    u32 c = blockIdx.y * THREADS + threadIdx.x;
    if (c >= width) return;
    const u32 *piece = pieces + 4 * (u64)blockIdx.x;
    float sum = 0.0f;
    for (u32 i = piece[0]; i < piece[1]; i++) sum += load(rows, (u64)order[i] * width + c);
    u64 to = (u64)piece[2] * width + c;
    if (piece[3]) table[to] += sum;
    else parts[to] = sum;
}

// Ids of several parts: (from, until, id).
KERNEL(add_parts, const float *parts, float *table, const u32 *ids, u32 width) {
    u32 c = blockIdx.y * THREADS + threadIdx.x;
    if (c >= width) return;
    const u32 *own = ids + 3 * (u64)blockIdx.x;
    float sum = 0.0f;
    for (u64 part = own[0]; part < own[1]; part++) sum += parts[part * width + c];
    table[(u64)own[2] * width + c] += sum;
}

#define OPERATIONS(T, type)                                                                                           \
    KERNEL(norm_weight_sums_##type, const T *x, const T *dy, const float *kept, float *sums, u32 rows, u32 width,     \
           u32 centred) {                                                                                             \
        norm_weight_sums(x, dy, kept, sums, rows, width, centred);                                                    \
    }                                                                                                                 \
    KERNEL(column_sums_##type, const T *x, float *sums, u32 rows, u32 width) { column_sums(x, sums, rows, width); }   \
    KERNEL(add_pieces_##type, const float *sums, T *y, u32 pieces, u32 columns) {                                     \
        add_pieces(sums, y, pieces, columns);                                                                         \
    }                                                                                                                 \
    KERNEL(activate_##type, const T *x, T *y, u64 n, u32 kind) { activate(x, y, n, kind); }                           \
    KERNEL(activate_backward_##type, const T *x, const T *dy, T *dx, u64 n, u32 kind) {                               \
        activate_backward(x, dy, dx, n, kind);                                                                        \
    }                                                                                                                 \
    KERNEL(gate_##type, const T *x, T *y, u64 n, u32 inner, u32 kind) { gate(x, y, n, inner, kind); }                 \
    KERNEL(gate_backward_##type, const T *x, const T *dy, T *dx, u64 n, u32 inner, u32 kind) {                        \
        gate_backward(x, dy, dx, n, inner, kind);                                                                     \
    }                                                                                                                 \
    KERNEL(add_bias_##type, T *y, const T *bias, u64 n, u32 width) { add_bias(y, bias, n, width); }                   \
    KERNEL(add_dropped_##type, const T *x, const T *r, T *y, u64 n, u32 key, u32 threshold, float keep) {             \
        add_dropped(x, r, y, n, key, threshold, keep);                                                                \
    }                                                                                                                 \
    KERNEL(add_into_##type, float *sum, const T *piece, u64 n, u64 strip, u64 apart, u64 from) {                      \
        add_into(sum, piece, n, strip, apart, from);                                                                  \
    }                                                                                                                 \
    KERNEL(split_heads_##type, const T *packed, const float *cosines, const float *sines, T *q, T *k, T *v, u64 n,    \
           u32 time, u32 heads, u32 kv_heads, u32 head, u32 half) {                                                   \
        split_heads(packed, cosines, sines, q, k, v, n, time, heads, kv_heads, head, half);                           \
    }                                                                                                                 \
    KERNEL(join_heads_##type, const T *dq, const T *dk, const T *dv, const float *cosines, const float *sines,        \
           T *dpacked, u64 n, u32 time, u32 heads, u32 kv_heads, u32 head, u32 half) {                                \
        join_heads(dq, dk, dv, cosines, sines, dpacked, n, time, heads, kv_heads, head, half);                        \
    }                                                                                                                 \
    KERNEL(attention_weights_##type, T *scores, float *log_sums, u32 count, u32 rows, u32 first, u32 first_head,      \
           u32 first_key, u32 time, u32 window, float scale, float cap, u32 key, u32 threshold, float keep) {         \
        attention_weights(scores, log_sums, count, rows, first, first_head, first_key, time, window, scale, cap, key, \
                          threshold, keep);                                                                           \
    }                                                                                                                 \
    KERNEL(attention_backward_##type, T *scores, T *gradient, const float *log_sums, const float *along, u32 count,   \
           u32 rows, u32 first, u32 first_head, u32 first_key, u32 time, u32 window, float scale, float cap, u32 key, \
           u32 threshold, float keep) {                                                                               \
        attention_backward(scores, gradient, log_sums, along, count, rows, first, first_head, first_key, time,        \
                           window, scale, cap, key, threshold, keep);                                                 \
    }                                                                                                                 \
    KERNEL(head_dots_##type, const T *y, const T *dy, float *dots, u64 n, u32 time, u32 heads, u32 head) {            \
        head_dots(y, dy, dots, n, time, heads, head);                                                                 \
    }                                                                                                                 \
    KERNEL(cross_entropy_##type, T *logits, const T *bias, const u32 *targets, const float *weights, float *losses,   \
           u32 vocabulary, float cap, u32 differentiated) {                                                           \
        cross_entropy(logits, bias, targets, weights, losses, vocabulary, cap, differentiated);                       \
    }                                                                                                                 \
    KERNEL(add_rows_##type, const T *rows, float *table, float *parts, const u32 *order, const u32 *pieces,           \
           u32 width) {                                                                                               \
        add_rows(rows, table, parts, order, pieces, width);                                                           \
    }
OPERATIONS(float, f32)
OPERATIONS(bf16, bf16)

// The optimiser, over many tensors at once. A block has CHUNK numbers of one tensor: `chunks` is (tensor, number of the
// chunk in it) for each block, `tensors` (length, whether it decays) for each tensor.

KERNEL(square_sums, const float *const *gradients, const u32 *tensors, const u32 *chunks, double *sums) {
    __shared__ double values[THREADS];
    u32 tensor = chunks[2 * (u64)blockIdx.x], own = threadIdx.x;
    u64 from = (u64)chunks[2 * (u64)blockIdx.x + 1] * CHUNK;
    u32 count = min(tensors[2 * (u64)tensor] - (u32)from, (u32)CHUNK);
    const float *gradient = gradients[tensor] + from;
    float sum = 0.0f;
    for (u32 i = own; i < count; i += THREADS) sum += gradient[i] * gradient[i];
    values[own] = sum;
    __syncthreads();
    if (own == 0) {
        double total = 0.0;
        for (u32 i = 0; i < THREADS; i++) total += values[i];
        sums[blockIdx.x] = total;
    }
}

// One block: the gradients' norm, the factor they are clipped with, and whether the step is one that can be taken.
KERNEL(judge, const double *sums, u32 count, const float *losses, u32 batches, float clip, float *verdict) {
    __shared__ double values[THREADS];
    u32 own = threadIdx.x;
    double sum = 0.0;
    for (u32 i = own; i < count; i += THREADS) sum += sums[i];
    values[own] = sum;
    __syncthreads();
    if (own == 0) {
        double squares = 0.0;
        for (u32 i = 0; i < THREADS; i++) squares += values[i];
        double norm = sqrt(squares);
        float loss = 0.0f;
        for (u32 i = 0; i < batches; i++) loss += losses[i];
        verdict[0] = (float)norm;
        verdict[1] = clip > 0.0f && norm > clip ? (float)(clip / norm) : 1.0f;
        // Infinity less itself is no number.
        verdict[2] = verdict[0] - verdict[0] == 0.0f && loss - loss == 0.0f ? 1.0f : 0.0f;
    }
}

KERNEL(adamw, float *const *parameters, const float *const *gradients, float *const *means, float *const *squares,
       const u32 *tensors, const u32 *chunks, const float *verdict, float learning_rate, float beta1, float beta2,
       float rest1, float rest2, float epsilon, float keep, float correction1, float correction2) {
    if (verdict[2] == 0.0f) return;
    u32 tensor = chunks[2 * (u64)blockIdx.x];
    u64 from = (u64)chunks[2 * (u64)blockIdx.x + 1] * CHUNK;
    u32 count = min(tensors[2 * (u64)tensor] - (u32)from, (u32)CHUNK);
    float kept = tensors[2 * (u64)tensor + 1] ? keep : 1.0f;
    float *p = parameters[tensor] + from, *m = means[tensor] + from, *v = squares[tensor] + from;
    const float *gradient = gradients[tensor] + from;
    for (u32 i = threadIdx.x; i < count; i += THREADS) {
        float g = gradient[i] * verdict[1];
        float mean = beta1 * m[i] + rest1 * g, square = beta2 * v[i] + rest2 * g * g;
        m[i] = mean;
        v[i] = square;
        p[i] = p[i] * kept - learning_rate * (mean * correction1) / (sqrtf(square * correction2) + epsilon);
    }
}
