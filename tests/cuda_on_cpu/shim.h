// CUDA for a processor, as much of it as `kernels.cu` uses. Blocks run one after the other; the threads of a block are
// fibers that give way to each other at __syncthreads, so that what one leaves in shared memory before it is there for
// all after it. Blocks of even number run their threads upwards, others downwards: a barrier that is missing shows.

#include <cmath>
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <ucontext.h>
#include <utility>

#define __device__ static inline
#define __shared__ static thread_local
#define __launch_bounds__(threads)

struct Dimensions {
    unsigned x, y, z;
};

static thread_local Dimensions threadIdx, blockIdx, blockDim, gridDim;

static inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }

static inline float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Threads of a block.
struct Fibers {
    static constexpr unsigned COUNT = 256;
    static constexpr size_t STACK = 1 << 15;

    ucontext_t contexts[COUNT], made_in;
    jmp_buf resume[COUNT], scheduler;
    bool started[COUNT] = {}, done[COUNT] = {};
    char *stacks = static_cast<char *>(std::malloc(COUNT * STACK));
    unsigned current = 0;
    void (*body)(void *) = nullptr;
    void *data = nullptr;

    ~Fibers() { std::free(stacks); }
};

static thread_local Fibers fibers;

static void fiber() {
    for (;;) {
        fibers.body(fibers.data);
        fibers.done[fibers.current] = true;
        if (!_setjmp(fibers.resume[fibers.current])) _longjmp(fibers.scheduler, 1);
    }
}

static void run_fiber(unsigned number) {
    fibers.current = number;
    threadIdx = {number, 0, 0};
    if (_setjmp(fibers.scheduler)) return;
    if (fibers.started[number]) _longjmp(fibers.resume[number], 1);
    fibers.started[number] = true;
    ucontext_t *context = &fibers.contexts[number];
    getcontext(context);
    context->uc_stack.ss_sp = fibers.stacks + number * Fibers::STACK;
    context->uc_stack.ss_size = Fibers::STACK;
    context->uc_link = nullptr;
    makecontext(context, fiber, 0);
    setcontext(context);
}

static void __syncthreads() {
    if (!_setjmp(fibers.resume[fibers.current])) _longjmp(fibers.scheduler, 1);
}

static void run_block(unsigned threads, bool upwards) {
    for (unsigned i = 0; i < threads; i++) fibers.done[i] = false;
    for (bool busy = true; busy;) {
        busy = false;
        for (unsigned i = 0; i < threads; i++) {
            unsigned number = upwards ? i : threads - 1 - i;
            if (fibers.done[number]) continue;
            run_fiber(number);
            busy = true;
        }
    }
}

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A *>(arguments[I])...);
}

// How an argument is passed: an address or 64 bits, 32 bits, a float.
template <class T> static constexpr char kind = 'a';
template <> constexpr char kind<unsigned> = 'u';
template <> constexpr char kind<float> = 'f';

template <class... A>
static int emulate(void (*kernel)(A...), void **arguments, const char *kinds, const unsigned *grid, unsigned threads) {
    const char wanted[] = {kind<A>..., 0};
    if (std::strcmp(kinds, wanted) != 0 || threads > Fibers::COUNT) return 1;
    auto body = [&] { call(kernel, arguments, std::index_sequence_for<A...>{}); };
    fibers.body = [](void *data) { (*static_cast<decltype(body) *>(data))(); };
    fibers.data = &body;
    gridDim = {grid[0], grid[1], 1};
    blockDim = {threads, 1, 1};
    for (unsigned y = 0; y < grid[1]; y++) {
        for (unsigned x = 0; x < grid[0]; x++) {
            blockIdx = {x, y, 0};
            run_block(threads, (x + y) % 2 == 0);
        }
    }
    return 0;
}

// Each kernel, and beside it a function that any of them is called through: arguments by address, as a driver has them.
#define KERNEL(name, ...)                                                                                             \
    static void name(__VA_ARGS__);                                                                                    \
    extern "C" int emulate_##name(void **arguments, const char *kinds, const unsigned *grid, unsigned threads) {      \
        return emulate(name, arguments, kinds, grid, threads);                                                        \
    }                                                                                                                 \
    static void name(__VA_ARGS__)
