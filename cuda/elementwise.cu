// elementwise.cu - elementwise ops, alone or as a region: one kernel that interprets it.
//
// The registers of a region lie in shared memory, a column for each element at work, so that any
// instruction reads any of them; a thread works on WIDTH elements, which shares the cost of
// finding the next instruction.  Inputs are read once, outputs written once: for up to about ten
// instructions memory is what a region waits for.
//
// Regions with one program are one kernel: a block finds its part by its number.
//
// A region that draws random numbers gives a thread the four elements of one Philox block, 16 apart.
#include "draw.h"

#include "formulas/elementwise.h"

namespace
{

enum { MAX_INSTR = 256, SHARED_BYTES = 48 << 10 };

struct source {
    const void *data;
    int64_t stride[EBM_MAX_RANK];
};

struct program {
    int32_t n_in, n_const, n_instr, n_out, n_reg;
    double constant[EBM_REGION_MAX_REG];
    uint8_t reg_dtype[EBM_REGION_MAX_REG], out_reg[EBM_REGION_MAX_OUT];
    ebm_instr instr[MAX_INSTR];
};

struct region_params {
    program code;
    int64_t n;
    int32_t rank;
    int64_t shape[EBM_MAX_RANK];
    source in[EBM_REGION_MAX_REG];
    void *out[EBM_REGION_MAX_OUT];
};

struct drawing_params : region_params {
    ebm_draw draw[EBM_REGION_MAX_REG];
    ebm_cuda_fault *fault;
};

struct regions_params {
    program code;
    int32_t n_part;
    int32_t first_block[EBM_REGIONS_MAX_PARTS + 1];
    uint32_t number[EBM_REGIONS_MAX_PARTS]; // bit k: input k is one number
    int64_t n[EBM_REGIONS_MAX_PARTS];
    void *data[EBM_REGIONS_MAX_VIEWS]; // of each part: inputs, then outputs
};

// ---- formulas of integers: arithmetic wraps -----------------------------------------------------

#define FORMULA_I32_1(id, value)                        \
    __device__ inline int32_t ebm__##id##_i32(int32_t x) \
    {                                                   \
        return (int32_t)(value);                        \
    }
#define FORMULA_I32_2(id, value)                                    \
    __device__ inline int32_t ebm__##id##_i32(int32_t a, int32_t b)  \
    {                                                               \
        return (int32_t)(value);                                    \
    }
// clang-format off
FORMULA_I32_1(neg,         0u - (uint32_t)x)
FORMULA_I32_1(abs,         x < 0 ? 0u - (uint32_t)x : (uint32_t)x)
FORMULA_I32_1(square,      (uint32_t)x * (uint32_t)x)
FORMULA_I32_1(sign,        (x > 0) - (x < 0))
FORMULA_I32_1(logical_not, x ^ 1)
FORMULA_I32_2(add,         (uint32_t)a + (uint32_t)b)
FORMULA_I32_2(sub,         (uint32_t)a - (uint32_t)b)
FORMULA_I32_2(mul,         (uint32_t)a * (uint32_t)b)
FORMULA_I32_2(maximum,     a > b ? a : b)
FORMULA_I32_2(minimum,     a < b ? a : b)
FORMULA_I32_2(logical_and, a & b)
FORMULA_I32_2(logical_or,  a | b)
FORMULA_I32_2(logical_xor, a ^ b)
FORMULA_I32_2(bit_and,     a & b)
FORMULA_I32_2(equal,       a == b)
FORMULA_I32_2(less,        a < b)
FORMULA_I32_2(less_equal,  a <= b)
// clang-format on

// Rounded down; what wraps or has no value is 0, or the least integer.
__device__ inline int32_t ebm__floordiv_i32(int32_t a, int32_t b)
{
    if (b == 0) return 0;
    if (b == -1) return (int32_t)(0u - (uint32_t)a);
    int32_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

__device__ inline int32_t ebm__mod_i32(int32_t a, int32_t b)
{
    if (b == 0 || b == -1) return 0;
    int32_t r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

// ---- casts: toward zero, the nearest integer there is, NaN to 0 ---------------------------------

__device__ inline int32_t to_i32(double x)
{
    if (x != x) return 0;
    return x <= INT32_MIN ? INT32_MIN : x >= INT32_MAX ? INT32_MAX : (int32_t)x;
}

__device__ inline int32_t to_u8(double x)
{
    return x > 0 ? x < 255 ? (int32_t)x : 255 : 0;
}

// ---- registers ----------------------------------------------------------------------------------

// Register k of the element in column `column`.  A word holds any of a float, an int, a truth
// and, where a region has some, a double.
template <class Word> struct columns {
    Word *first; // this thread's column of register 0
    int32_t pitch;

    template <class T> __device__ T &at(int32_t k, int32_t step) const
    {
        return *(T *)(first + (int64_t)k * pitch + step);
    }
};

// ---- the interpreter ----------------------------------------------------------------------------

#define KEY(op, dtype) (EBM_OP_##op * EBM_DTYPE_COUNT + (dtype))
#define EACH for (int v = 0; v < WIDTH; v++)
#define TO(T) r.template at<T>(p.d, v *step)
#define A(T) r.template at<T>(p.a, v *step)
#define B(T) r.template at<T>(p.b, v *step)
#define C(T) r.template at<T>(p.c, v *step)

#define CASE_1(id, dtype, t, T, R)                      \
    case KEY(id, dtype):                                \
        EACH TO(R) = (R)ebm__##id##_##t(A(T));          \
        break;
#define CASE_2(id, dtype, t, T, R)                      \
    case KEY(id, dtype):                                \
        EACH TO(R) = (R)ebm__##id##_##t(A(T), B(T));    \
        break;
#define FLOAT_1(id, unused) CASE_1(id, EBM_F32, f32, float, float) CASE_1(id, EBM_F64, f64, double, double)
#define FLOAT_2(id, unused) CASE_2(id, EBM_F32, f32, float, float) CASE_2(id, EBM_F64, f64, double, double)
#define NUMBER_1(id, unused) FLOAT_1(id, 0) CASE_1(id, EBM_I32, i32, int32_t, int32_t)
#define NUMBER_2(id, unused) FLOAT_2(id, 0) CASE_2(id, EBM_I32, i32, int32_t, int32_t)
#define TEST_2(id, unused)                            \
    CASE_2(id, EBM_F32, f32, float, int32_t)          \
    CASE_2(id, EBM_F64, f64, double, int32_t)         \
    CASE_2(id, EBM_I32, i32, int32_t, int32_t)
#define TRUTH_2(id, unused) CASE_2(id, EBM_BOOL, i32, int32_t, int32_t)
#define CASE_SELECT(dtype, T)                               \
    case KEY(select, dtype):                                \
        EACH TO(T) = A(int32_t) ? B(T) : C(T);              \
        break;
#define CASE_CAST(dtype, T)                                             \
    case KEY(cast, dtype):                                              \
        switch (to) {                                                   \
        case EBM_F32: EACH TO(float) = (float)A(T); break;              \
        case EBM_F64: EACH TO(double) = (double)A(T); break;            \
        case EBM_I32: EACH TO(int32_t) = to_i32((double)A(T)); break;   \
        case EBM_BOOL: EACH TO(int32_t) = A(T) != 0; break;             \
        default: EACH TO(int32_t) = to_u8((double)A(T)); break;         \
        }                                                               \
        break;

template <class Word, int WIDTH>
__device__ void run_instr(const ebm_instr &p, int32_t to, const columns<Word> &r, int32_t step)
{
    switch (p.op * EBM_DTYPE_COUNT + p.dtype) {
        EBM_FLOAT_OPS_1(FLOAT_1, 0)
        EBM_FLOAT_OPS_2(FLOAT_2, 0)
        EBM_NUMBER_OPS_1(NUMBER_1, 0)
        EBM_NUMBER_OPS_2(NUMBER_2, 0)
        EBM_NUMBER_TESTS_2(TEST_2, 0)
        EBM_TRUTH_OPS_2(TRUTH_2, 0)
        CASE_1(isfinite, EBM_F32, f32, float, int32_t)
        CASE_1(isfinite, EBM_F64, f64, double, int32_t)
        CASE_2(equal, EBM_BOOL, i32, int32_t, int32_t)
        CASE_2(equal, EBM_U8, i32, int32_t, int32_t)
        CASE_1(logical_not, EBM_BOOL, i32, int32_t, int32_t)
        CASE_2(bit_and, EBM_I32, i32, int32_t, int32_t)
        CASE_2(floordiv, EBM_I32, i32, int32_t, int32_t)
        CASE_2(mod, EBM_I32, i32, int32_t, int32_t)
        CASE_SELECT(EBM_F32, float)
        CASE_SELECT(EBM_F64, double)
        CASE_SELECT(EBM_I32, int32_t)
        CASE_SELECT(EBM_BOOL, int32_t)
        CASE_SELECT(EBM_U8, int32_t)
        CASE_CAST(EBM_F32, float)
        CASE_CAST(EBM_F64, double)
    case KEY(cast, EBM_I32):
    case KEY(cast, EBM_BOOL):
    case KEY(cast, EBM_U8): // from i32 into u8 the low byte
        switch (to) {
        case EBM_F32: EACH TO(float) = (float)A(int32_t); break;
        case EBM_F64: EACH TO(double) = (double)A(int32_t); break;
        case EBM_I32: EACH TO(int32_t) = A(int32_t); break;
        case EBM_BOOL: EACH TO(int32_t) = A(int32_t) != 0; break;
        default: EACH TO(int32_t) = A(int32_t) & 255; break;
        }
        break;
    default: break; // check_region has seen every instruction
    }
}

__device__ inline int64_t offset_of(const region_params &p, const source &s, int64_t element)
{
    if (p.rank == 1) return element * s.stride[0];
    int64_t offset = 0;
    for (int32_t k = p.rank - 1; k >= 0; k--) {
        int64_t whole = element / p.shape[k];
        offset += (element - whole * p.shape[k]) * s.stride[k];
        element = whole;
    }
    return offset;
}

template <class Word>
__device__ void load(const columns<Word> &r, int32_t k, int32_t step, int32_t dtype,
                     const void *data, int64_t at)
{
    switch (dtype) {
    case EBM_F32: r.template at<float>(k, step) = ((const float *)data)[at]; break;
    case EBM_F64: r.template at<double>(k, step) = ((const double *)data)[at]; break;
    case EBM_I32: r.template at<int32_t>(k, step) = ((const int32_t *)data)[at]; break;
    default: r.template at<int32_t>(k, step) = ((const uint8_t *)data)[at]; break;
    }
}

template <class Word>
__device__ void store(const columns<Word> &r, int32_t k, int32_t step, int32_t dtype,
                      void *data, int64_t at)
{
    switch (dtype) {
    case EBM_F32: ((float *)data)[at] = r.template at<float>(k, step); break;
    case EBM_F64: ((double *)data)[at] = r.template at<double>(k, step); break;
    case EBM_I32: ((int32_t *)data)[at] = r.template at<int32_t>(k, step); break;
    default: ((uint8_t *)data)[at] = (uint8_t)r.template at<int32_t>(k, step); break;
    }
}

template <class Word, int WIDTH>
__device__ void set_constants(const program &p, const columns<Word> &r, int32_t step)
{
    for (int32_t k = p.n_in; k < p.n_in + p.n_const; k++) {
        double value = p.constant[k - p.n_in];
        for (int v = 0; v < WIDTH; v++) {
            switch (p.reg_dtype[k]) {
            case EBM_F32: r.template at<float>(k, v * step) = (float)value; break;
            case EBM_F64: r.template at<double>(k, v * step) = value; break;
            default: r.template at<int32_t>(k, v * step) = (int32_t)value; break;
            }
        }
    }
}

// What the elements of a block are, of the WIDTH * blockDim.x from `first` on: which one is in
// column v of this thread, and where an operand of it lies.

// A thread has every blockDim.x-th.
struct strided_part {
    const region_params &p;

    __device__ int64_t end() const
    {
        return p.n;
    }
    __device__ int64_t element(int64_t first, int v) const
    {
        return first + threadIdx.x + v * (int64_t)blockDim.x;
    }
    __device__ int64_t n() const
    {
        return p.n;
    }
    __device__ const void *input(int32_t k) const
    {
        return p.in[k].data;
    }
    __device__ int64_t place(int32_t k, int64_t element) const
    {
        return offset_of(p, p.in[k], element);
    }
    __device__ void *output(int32_t k) const
    {
        return p.out[k];
    }
    template <class Word> __device__ bool draws(const columns<Word> &, int32_t, int64_t) const
    {
        return false;
    }
};

// A thread has those that take the words of one Philox block, of which there are whole groups.
struct drawing_part : strided_part {
    const drawing_params &d;

    __device__ explicit drawing_part(const drawing_params &params)
        : strided_part{params}, d(params)
    {
    }
    __device__ int64_t end() const
    {
        return (d.n + EBM_DRAW_GROUP - 1) / EBM_DRAW_GROUP * EBM_DRAW_GROUP;
    }
    __device__ int64_t element(int64_t first, int v) const
    {
        return ebm__cuda_drawn(first / 4 + threadIdx.x, v);
    }
    template <class Word>
    __device__ bool draws(const columns<Word> &r, int32_t k, int64_t first) const
    {
        const ebm_draw &draw = d.draw[k];
        if (draw.op == 0) return false;
        const uint32_t *key = (const uint32_t *)d.in[k].data;
        float real[4] = {};
        int32_t integer[4] = {};
        uint64_t start = ebm__cuda_first_block(draw, key, d.fault);
        ebm__cuda_draw(draw, key, start + (uint64_t)(first / 4 + threadIdx.x), real, integer);
        for (int v = 0; v < 4; v++) {
            int32_t column = v * (int32_t)blockDim.x;
            switch (d.code.reg_dtype[k]) {
            case EBM_F32: r.template at<float>(k, column) = real[v]; break;
            case EBM_F64: r.template at<double>(k, column) = real[v]; break;
            default: r.template at<int32_t>(k, column) = integer[v]; break;
            }
        }
        return true;
    }
};

// One of several regions, by the number of the block, which does nothing else.
struct joint_part {
    const regions_params &p;
    int32_t k;

    __device__ explicit joint_part(const regions_params &params) : p(params), k(0)
    {
        for (int32_t end = p.n_part; end - k > 1;) {
            int32_t middle = (k + end) / 2;
            if ((int32_t)blockIdx.x < p.first_block[middle])
                end = middle;
            else
                k = middle;
        }
    }
    __device__ int64_t element(int64_t first, int v) const
    {
        return first + threadIdx.x + v * (int64_t)blockDim.x;
    }
    __device__ int64_t n() const
    {
        return p.n[k];
    }
    __device__ void *view(int32_t i) const
    {
        return p.data[k * (p.code.n_in + p.code.n_out) + i];
    }
    __device__ const void *input(int32_t i) const
    {
        return view(i);
    }
    __device__ int64_t place(int32_t i, int64_t element) const
    {
        return p.number[k] >> i & 1 ? 0 : element;
    }
    __device__ void *output(int32_t i) const
    {
        return view(p.code.n_in + i);
    }
    template <class Word> __device__ bool draws(const columns<Word> &, int32_t, int64_t) const
    {
        return false;
    }
};

// A thread's elements of those from `first` on.
template <class Word, int WIDTH, class Part>
__device__ void run_elements(const program &code, const Part &part, const columns<Word> &r,
                             int64_t first)
{
    const int32_t step = (int32_t)blockDim.x;
    const int64_t n = part.n();
    for (int32_t k = 0; k < code.n_in; k++) {
        if (part.draws(r, k, first)) continue;
        for (int v = 0; v < WIDTH; v++) {
            int64_t element = part.element(first, v);
            if (element < n)
                load(r, k, v * step, code.reg_dtype[k], part.input(k), part.place(k, element));
        }
    }
    for (int32_t k = 0; k < code.n_instr; k++)
        run_instr<Word, WIDTH>(code.instr[k], code.reg_dtype[code.instr[k].d], r, step);
    for (int32_t k = 0; k < code.n_out; k++)
        for (int v = 0; v < WIDTH; v++) {
            int64_t element = part.element(first, v);
            int32_t reg = code.out_reg[k];
            if (element < n)
                store(r, reg, v * step, code.reg_dtype[reg], part.output(k), element);
        }
}

// Blocks stride over all elements.
template <class Word, int WIDTH, class Part>
__device__ void run_program(const program &code, const Part &part, Word *file)
{
    const int32_t pitch = WIDTH * (int32_t)blockDim.x;
    const columns<Word> r = {file + threadIdx.x, pitch};
    set_constants<Word, WIDTH>(code, r, (int32_t)blockDim.x);
    for (int64_t first = (int64_t)blockIdx.x * pitch; first < part.end();
         first += (int64_t)gridDim.x * pitch)
        run_elements<Word, WIDTH>(code, part, r, first);
}

template <class Word, int WIDTH>
__global__ void run_region_kernel(const __grid_constant__ region_params p)
{
    EBM_DYNAMIC_SHARED(Word, file);
    run_program<Word, WIDTH>(p.code, strided_part{p}, file);
}

template <class Word>
__global__ void run_drawing_kernel(const __grid_constant__ drawing_params p)
{
    EBM_DYNAMIC_SHARED(Word, file);
    run_program<Word, 4>(p.code, drawing_part(p), file);
}

template <class Word, int WIDTH>
__global__ void run_regions_kernel(const __grid_constant__ regions_params p)
{
    EBM_DYNAMIC_SHARED(Word, file);
    const int32_t pitch = WIDTH * (int32_t)blockDim.x;
    const columns<Word> r = {file + threadIdx.x, pitch};
    const joint_part part(p);
    set_constants<Word, WIDTH>(p.code, r, (int32_t)blockDim.x);
    int64_t block = (int32_t)blockIdx.x - p.first_block[part.k];
    run_elements<Word, WIDTH>(p.code, part, r, block * pitch);
}

// ---- from a region to its parameters ------------------------------------------------------------

// Axes that are one for every input become one; those of size 1 go.  Keys have no axes: strides 0.
void merge_axes(region_params *p)
{
    int32_t rank = 0;
    for (int32_t k = 0; k < p->rank; k++) {
        if (p->shape[k] == 1) continue;
        bool joins = rank > 0;
        for (int32_t i = 0; joins && i < p->code.n_in; i++)
            joins = p->in[i].stride[rank - 1] == p->in[i].stride[k] * p->shape[k];
        int32_t at = joins ? rank - 1 : rank++;
        p->shape[at] = joins ? p->shape[at] * p->shape[k] : p->shape[k];
        for (int32_t i = 0; i < p->code.n_in; i++) p->in[i].stride[at] = p->in[i].stride[k];
    }
    if (rank == 0) {
        p->shape[0] = 1;
        for (int32_t i = 0; i < p->code.n_in; i++) p->in[i].stride[0] = 0;
        rank = 1;
    }
    p->rank = rank;
}

// Whether the interpreter has a case.
bool takes(int32_t op, int32_t dtype)
{
    bool real = dtype == EBM_F32 || dtype == EBM_F64, number = real || dtype == EBM_I32;
    switch (op) {
#define IS(id, answer) \
    case EBM_OP_##id: return answer;
        EBM_FLOAT_OPS_1(IS, real)
        EBM_FLOAT_OPS_2(IS, real)
        EBM_NUMBER_OPS_1(IS, number)
        EBM_NUMBER_OPS_2(IS, number)
        EBM_TRUTH_OPS_2(IS, dtype == EBM_BOOL)
        IS(less, number)
        IS(less_equal, number)
        IS(isfinite, real)
        IS(logical_not, dtype == EBM_BOOL)
        IS(bit_and, dtype == EBM_I32)
        IS(floordiv, dtype == EBM_I32)
        IS(mod, dtype == EBM_I32)
#undef IS
    case EBM_OP_equal:
    case EBM_OP_select:
    case EBM_OP_cast: return dtype < EBM_DTYPE_COUNT;
    default: return false;
    }
}

ebm_status check_region(const ebm_region *r)
{
    EBM_CHECK(r->n_out >= 1 && r->n_reg <= EBM_REGION_MAX_REG && r->n_out <= EBM_REGION_MAX_OUT);
    EBM_CHECK(r->n_in + r->n_const <= r->n_reg && r->n_instr <= MAX_INSTR);
    for (int k = 0; k < r->n_instr; k++) {
        const ebm_instr *p = &r->instr[k];
        if (!takes(p->op, p->dtype))
            return ebm_fail(EBM_UNSUPPORTED, "cuda: elementwise op %d is not for %s",
                            (int)p->op, ebm_dtype_name((ebm_dtype)p->dtype));
        EBM_CHECK(p->d < r->n_reg && p->a < r->n_reg && p->b < r->n_reg && p->c < r->n_reg);
    }
    return EBM_OK;
}

// How many elements a thread takes, and threads a block: registers must fit the shared memory that
// every kernel may have.  A draw has four elements a thread, in blocks as small as that takes.
struct launch_size {
    int32_t block, width;
    size_t shared;
};

launch_size size_of(int32_t n_reg, size_t word, bool draws)
{
    int32_t block = ebm_cuda->block, width = draws ? 4 : 1;
    size_t column = (size_t)n_reg * word;
    while (block > 16 && column * (size_t)(block * width) > SHARED_BYTES) block /= 2;
    if (4 * column * (size_t)block <= SHARED_BYTES) width = 4;
    return {block, width, column * (size_t)(block * width)};
}

template <class Word> ebm_status launch_region(const region_params *p)
{
    launch_size size = size_of(p->code.n_reg, sizeof(Word), false);
    dim3 grid = ebm__cuda_grid((p->n + size.width - 1) / size.width, size.block);
    dim3 block((unsigned)size.block);
    if (size.width == 4)
        EBM_LAUNCH((run_region_kernel<Word, 4>), grid, block, size.shared, *p);
    else
        EBM_LAUNCH((run_region_kernel<Word, 1>), grid, block, size.shared, *p);
    return ebm__cuda_launched("elementwise");
}

template <class Word> ebm_status launch_drawing(const drawing_params *p)
{
    launch_size size = size_of(p->code.n_reg, sizeof(Word), true);
    EBM_LAUNCH((run_drawing_kernel<Word>), ebm__cuda_grid((p->n + 3) / 4, size.block),
               dim3((unsigned)size.block), size.shared, *p);
    return ebm__cuda_launched("elementwise");
}

// True if registers must hold a double.
bool set_program(program *p, const ebm_region *r)
{
    bool wide = false;
    p->n_in = r->n_in, p->n_const = r->n_const, p->n_instr = r->n_instr;
    p->n_out = r->n_out, p->n_reg = r->n_reg;
    for (int32_t k = 0; k < p->n_out; k++) p->out_reg[k] = r->out_reg[k];
    for (int32_t k = 0; k < p->n_const; k++) p->constant[k] = r->constant[k];
    for (int32_t k = 0; k < p->n_reg; k++) {
        p->reg_dtype[k] = r->reg_dtype[k];
        wide = wide || r->reg_dtype[k] == EBM_F64;
    }
    for (int32_t k = 0; k < p->n_instr; k++) p->instr[k] = r->instr[k];
    return wide;
}

ebm_status run_region(const ebm_kernel_args *args, const ebm_region *r)
{
    EBM_CHECK(r->n_in == args->n_in && r->n_out == args->n_out);
    EBM_TRY(check_region(r));
    drawing_params p;
    memset(&p, 0, sizeof p);
    p.n = ebm__cuda_size(&args->out[0]);
    if (p.n == 0) return EBM_OK;
    p.rank = args->out[0].rank;
    bool wide = set_program(&p.code, r);
    for (int32_t k = 0; k < p.rank; k++) p.shape[k] = args->out[0].shape[k];
    for (int32_t k = 0; k < r->n_in; k++) {
        p.in[k].data = args->in[k].data;
        if (r->draw) p.draw[k] = r->draw[k];
        for (int32_t i = 0; i < p.rank && p.draw[k].op == 0; i++)
            p.in[k].stride[i] = args->in[k].stride[i];
    }
    for (int32_t k = 0; k < r->n_out; k++) p.out[k] = args->out[k].data;
    p.fault = ebm_cuda->fault;
    merge_axes(&p);
    if (r->draw) return wide ? launch_drawing<double>(&p) : launch_drawing<float>(&p);
    return wide ? launch_region<double>(&p) : launch_region<float>(&p);
}

template <class Word> ebm_status launch_regions(regions_params *p)
{
    launch_size size = size_of(p->code.n_reg, sizeof(Word), false);
    int64_t pitch = (int64_t)size.width * size.block, blocks = 0;
    for (int32_t k = 0; k < p->n_part; k++) {
        blocks += (p->n[k] + pitch - 1) / pitch;
        EBM_CHECK(blocks <= INT32_MAX);
        p->first_block[k + 1] = (int32_t)blocks;
    }
    dim3 grid((unsigned)p->first_block[p->n_part]), block((unsigned)size.block);
    if (size.width == 4)
        EBM_LAUNCH((run_regions_kernel<Word, 4>), grid, block, size.shared, *p);
    else
        EBM_LAUNCH((run_regions_kernel<Word, 1>), grid, block, size.shared, *p);
    return ebm__cuda_launched("elementwise");
}

// The number of elements between neighbours of an input: 1, or 0.
ebm_status stride_of(const ebm_view *view, int64_t *stride)
{
    *stride = view->rank > 0 ? view->stride[0] : 0;
    EBM_CHECK(view->rank <= 1 && *stride >= 0 && *stride <= 1);
    return EBM_OK;
}

ebm_status run_regions(const ebm_kernel_args *args, const ebm_region *r)
{
    EBM_TRY(check_region(r));
    regions_params p;
    memset(&p, 0, sizeof p);
    p.n_part = args->n_out / r->n_out;
    EBM_CHECK(p.n_part >= 1 && p.n_part <= EBM_REGIONS_MAX_PARTS && !r->draw);
    EBM_CHECK(r->n_in <= EBM_REGIONS_MAX_IN && args->n_in == p.n_part * r->n_in &&
              args->n_out == p.n_part * r->n_out &&
              args->n_in + args->n_out <= EBM_REGIONS_MAX_VIEWS);
    bool wide = set_program(&p.code, r);
    void **data = p.data;
    for (int32_t k = 0; k < p.n_part; k++) {
        p.n[k] = ebm__cuda_size(&args->out[k * r->n_out]);
        EBM_CHECK(p.n[k] > 0);
        for (int32_t i = 0; i < r->n_in; i++) {
            const ebm_view *in = &args->in[k * r->n_in + i];
            int64_t stride = 0;
            EBM_TRY(stride_of(in, &stride));
            if (stride == 0) p.number[k] |= (uint32_t)1 << i;
            *data++ = in->data;
        }
        for (int32_t i = 0; i < r->n_out; i++) *data++ = args->out[k * r->n_out + i].data;
    }
    return wide ? launch_regions<double>(&p) : launch_regions<float>(&p);
}

// One op is a region of one instruction.
ebm_status run_op(const ebm_kernel_args *args)
{
    int32_t n = args->n_in;
    EBM_CHECK(n >= 1 && n <= 3 && args->n_out == 1);
    ebm_instr instr = {};
    instr.op = (uint16_t)args->op;
    instr.d = (uint8_t)n;
    instr.b = n > 1 ? 1 : 0;
    instr.c = n > 2 ? 2 : 0;
    instr.dtype = (uint8_t)args->in[args->op == EBM_OP_select ? 1 : 0].dtype;
    ebm_region region = {};
    region.n_in = n;
    region.n_instr = region.n_out = 1;
    region.n_reg = n + 1;
    region.instr = &instr;
    for (int32_t k = 0; k < n; k++) region.reg_dtype[k] = (uint8_t)args->in[k].dtype;
    region.reg_dtype[n] = (uint8_t)args->out[0].dtype;
    region.out_reg[0] = (uint8_t)n;
    return run_region(args, &region);
}

} // namespace

ebm_status ebm__cuda_elementwise(const ebm_kernel_args *args)
{
    if (args->op == EBM_OP_REGIONS) return run_regions(args, args->region);
    return args->op == EBM_OP_REGION ? run_region(args, args->region) : run_op(args);
}

size_t ebm__cuda_elementwise_scratch(const ebm_kernel_args *)
{
    return 0;
}
