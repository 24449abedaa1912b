/* device.c - the CPU as a device: host memory, and kernels of the best instruction set.
 *
 * Compiled once, without EBM_ISA.  EBM_HAVE_X86_ISAS says that the kernels were also
 * compiled for AVX2 and AVX-512 (x86-64-v3 and -v4).  Which table is in use is found at the
 * first run; a bad EBMLIB_ISA is reported by every run until it is mended or ebm_cpu_set_isa
 * chooses. */
#include "tensor/device.h"

#include "base/alloc.h"
#include "cpu/kernels.h"
#include "graph/graph.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS(family, isa)                 \
    .family = ebm__cpu_##family##_##isa,      \
    .family##_scratch = ebm__cpu_##family##_scratch_##isa,

#define DECLARE_BASELINE(family) EBM_CPU_DECLARE(family, baseline)
#define MEMBERS_BASELINE(family) MEMBERS(family, baseline)
EBM_KERNEL_FAMILIES(DECLARE_BASELINE)
EBM_CPU_DECLARE_EXTRAS(baseline)
static const ebm_cpu_table table_baseline = {
    .isa = "baseline",
    EBM_KERNEL_FAMILIES(MEMBERS_BASELINE).matmul_packed = ebm__cpu_matmul_packed_baseline,
    .conv_packed = ebm__cpu_conv_packed_baseline,
    .peak = ebm__cpu_peak_baseline};

#if defined(EBM_HAVE_X86_ISAS)
#define DECLARE_AVX2(family) EBM_CPU_DECLARE(family, avx2)
#define MEMBERS_AVX2(family) MEMBERS(family, avx2)
EBM_KERNEL_FAMILIES(DECLARE_AVX2)
EBM_CPU_DECLARE_EXTRAS(avx2)
static const ebm_cpu_table table_avx2 = {
    .isa = "avx2",
    EBM_KERNEL_FAMILIES(MEMBERS_AVX2).matmul_packed = ebm__cpu_matmul_packed_avx2,
    .conv_packed = ebm__cpu_conv_packed_avx2,
    .peak = ebm__cpu_peak_avx2};

#define DECLARE_AVX512(family) EBM_CPU_DECLARE(family, avx512)
#define MEMBERS_AVX512(family) MEMBERS(family, avx512)
EBM_KERNEL_FAMILIES(DECLARE_AVX512)
EBM_CPU_DECLARE_EXTRAS(avx512)
static const ebm_cpu_table table_avx512 = {
    .isa = "avx512",
    EBM_KERNEL_FAMILIES(MEMBERS_AVX512).matmul_packed = ebm__cpu_matmul_packed_avx512,
    .conv_packed = ebm__cpu_conv_packed_avx512,
    .peak = ebm__cpu_peak_avx512};
#endif

static const ebm_cpu_table *_Atomic in_use; /* NULL: not chosen yet */

/* ---- choice ------------------------------------------------------------------------------------ */

#if defined(EBM_HAVE_X86_ISAS)
/* Every machine with these has the rest of x86-64-v3 (F16C, LZCNT, MOVBE), whose names not all
 * compilers know. */
static bool has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
}
#endif

static const ebm_cpu_table *best_table(void)
{
#if defined(EBM_HAVE_X86_ISAS)
    if (has_avx512()) return &table_avx512;
    if (has_avx2()) return &table_avx2;
#endif
    return &table_baseline;
}

/* The table called `name`; `who` asked for it. */
static ebm_status named_table(const ebm_cpu_table **out, const char *name, const char *who)
{
    const ebm_cpu_table *table = NULL;
    bool known = true;
    if (strcmp(name, "baseline") == 0)
        table = &table_baseline;
    else if (strcmp(name, "avx2") != 0 && strcmp(name, "avx512") != 0)
        known = false;
#if defined(EBM_HAVE_X86_ISAS)
    else if (strcmp(name, "avx2") == 0 && has_avx2())
        table = &table_avx2;
    else if (strcmp(name, "avx512") == 0 && has_avx512())
        table = &table_avx512;
#endif
    if (!known)
        return ebm_fail(EBM_VALUE,
                        "%s: unknown instruction set: got '%s', "
                        "expected baseline, avx2 or avx512",
                        who, name);
    if (!table)
        return ebm_fail(EBM_UNSUPPORTED, "%s: this machine has no %s: expected at most %s", who,
                        name, best_table()->isa);
    *out = table;
    return EBM_OK;
}

/* The table in use, chosen now if it was not yet.  A failure is not kept: the next call asks
 * again. */
static ebm_status get_table(const ebm_cpu_table **out)
{
    const ebm_cpu_table *table = atomic_load_explicit(&in_use, memory_order_acquire);
    if (!table) {
        const char *name = getenv("EBMLIB_ISA");
        const ebm_cpu_table *chosen = NULL;
        if (name && *name)
            EBM_TRY(named_table(&chosen, name, "EBMLIB_ISA"));
        else
            chosen = best_table();
        if (atomic_compare_exchange_strong(&in_use, &table, chosen)) table = chosen;
    }
    *out = table;
    return EBM_OK;
}

const char *ebm_cpu_isa(void)
{
    const ebm_cpu_table *table = NULL;
    return get_table(&table) == EBM_OK ? table->isa : "none";
}

ebm_status ebm_cpu_set_isa(const char *name)
{
    const ebm_cpu_table *table = NULL;
    if (name) EBM_TRY(named_table(&table, name, "cpu"));
    atomic_store_explicit(&in_use, table, memory_order_release);
    return EBM_OK;
}

/* ---- memory ------------------------------------------------------------------------------------ */

static ebm_status cpu_alloc(const ebm_device *device, void **out, size_t bytes)
{
    (void)device;
    *out = ebm__alloc(bytes, 1);
    return *out ? EBM_OK : EBM_NOMEM;
}

static void cpu_free(const ebm_device *device, void *data)
{
    (void)device;
    ebm__free(data);
}

static ebm_status cpu_copy(const ebm_device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    if (bytes) memmove(to, from, bytes);
    return EBM_OK;
}

static ebm_status cpu_sync(const ebm_device *device)
{
    (void)device;
    return EBM_OK;
}

/* ---- kernels ----------------------------------------------------------------------------------- */

/* An operand is laid out by those who will read it. */
static ebm_op_family family_of(const ebm_kernel_args *args)
{
    int32_t op = args->op == EBM_OP_PACK ? (int32_t)args->attr[0] : args->op;
    if (op == EBM_OP_REGION) return EBM_FAMILY_ELEMENTWISE;
    if (op < 0 || op >= EBM_OP_COUNT) return EBM_FAMILY_STRUCTURE;
    return ebm_op_get((ebm_op)op)->family;
}

static size_t table_scratch(const ebm_cpu_table *table, const ebm_kernel_args *args)
{
    switch (family_of(args)) {
    case EBM_FAMILY_ELEMENTWISE: return table->elementwise_scratch(args);
    case EBM_FAMILY_REDUCE: return table->reduce_scratch(args);
    case EBM_FAMILY_MOVE: return table->move_scratch(args);
    case EBM_FAMILY_INDEX: return table->index_scratch(args);
    case EBM_FAMILY_MATMUL: return table->matmul_scratch(args);
    case EBM_FAMILY_CONV: return table->conv_scratch(args);
    case EBM_FAMILY_LINALG: return table->linalg_scratch(args);
    case EBM_FAMILY_SORT: return table->sort_scratch(args);
    case EBM_FAMILY_RANDOM: return table->random_scratch(args);
    case EBM_FAMILY_STRUCTURE: break;
    }
    return 0;
}

/* Enough for every instruction set of the machine: a plan may run on another than it was made
 * on. */
static size_t cpu_scratch(const ebm_device *device, const ebm_kernel_args *args)
{
    (void)device;
    size_t most = table_scratch(&table_baseline, args);
#if defined(EBM_HAVE_X86_ISAS)
    size_t bytes = has_avx2() ? table_scratch(&table_avx2, args) : 0;
    if (bytes > most) most = bytes;
    if (has_avx512()) bytes = table_scratch(&table_avx512, args);
    if (bytes > most) most = bytes;
#endif
    return most;
}

static size_t table_packed(const ebm_cpu_table *table, const ebm_kernel_args *args)
{
    switch (family_of(args)) {
    case EBM_FAMILY_MATMUL: return table->matmul_packed(args);
    case EBM_FAMILY_CONV: return table->conv_packed(args);
    default: return 0;
    }
}

/* As large as the largest: 0 if one of them takes the operand as it is. */
static size_t cpu_packed(const ebm_device *device, const ebm_kernel_args *args)
{
    (void)device;
    size_t bytes = table_packed(&table_baseline, args);
#if defined(EBM_HAVE_X86_ISAS)
    size_t avx2 = has_avx2() ? table_packed(&table_avx2, args) : bytes;
    size_t avx512 = has_avx512() ? table_packed(&table_avx512, args) : bytes;
    if (bytes == 0 || avx2 == 0 || avx512 == 0) return 0;
    if (avx2 > bytes) bytes = avx2;
    if (avx512 > bytes) bytes = avx512;
#endif
    return bytes;
}

static ebm_status cpu_run(const ebm_device *device, const ebm_kernel_args *args)
{
    (void)device;
    const ebm_cpu_table *table = NULL;
    EBM_TRY(get_table(&table));
    switch (family_of(args)) {
    case EBM_FAMILY_ELEMENTWISE: return table->elementwise(args);
    case EBM_FAMILY_REDUCE: return table->reduce(args);
    case EBM_FAMILY_MOVE: return table->move(args);
    case EBM_FAMILY_INDEX: return table->index(args);
    case EBM_FAMILY_MATMUL: return table->matmul(args);
    case EBM_FAMILY_CONV: return table->conv(args);
    case EBM_FAMILY_LINALG: return table->linalg(args);
    case EBM_FAMILY_SORT: return table->sort(args);
    case EBM_FAMILY_RANDOM: return table->random(args);
    case EBM_FAMILY_STRUCTURE: break;
    }
    return ebm_fail(EBM_UNSUPPORTED, "cpu: op %d has no kernel", (int)args->op);
}

static ebm_status cpu_peak(const ebm_device *device, double *flops, double *bytes)
{
    (void)device;
    const ebm_cpu_table *table = NULL;
    EBM_TRY(get_table(&table));
    return table->peak(flops, bytes);
}

const ebm_device *ebm_device_cpu(void)
{
    static const ebm_device cpu = {
        .name = "cpu",
        .model = "cpu",
        .host_memory = true,
        .alloc = cpu_alloc,
        .free = cpu_free,
        .to_device = cpu_copy,
        .to_host = cpu_copy,
        .copy = cpu_copy,
        .fetch = cpu_copy,
        .arrive = cpu_sync,
        .scratch = cpu_scratch,
        .packed = cpu_packed,
        .run = cpu_run,
        .sync = cpu_sync,
        .peak = cpu_peak,
    };
    return &cpu;
}
