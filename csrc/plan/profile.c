/* profile.c - the profile that is on, what it has counted, and what a kernel costs by its shapes. */
#define _POSIX_C_SOURCE 200809L
#include "plan/profile.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "plan/plan_internal.h"
#include "tensor/shape.h"

typedef struct count {
    atomic_llong calls, nanoseconds;
} count;

struct ebm__profile_plan {
    ebm_profile *profile;
    ebm__profile_plan *next;
    ebm_plan *plan; /* retained */
    int32_t number;
    count *kernel;
};

struct ebm_profile {
    ebm__profile_plan *first, *last;
    int32_t n_plans;
    int64_t owners; /* its maker, and runs under way */
};

/* The lock holds the profile that is on, the lists of all profiles and their owners. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ebm_profile *_Atomic on;

/* ---- life ------------------------------------------------------------------------------------ */

ebm_status ebm_profile_new(ebm_profile **out)
{
    ebm_profile *profile = ebm__alloc(1, sizeof *profile);
    if (!profile) return EBM_NOMEM;
    profile->owners = 1;
    *out = profile;
    return EBM_OK;
}

static void release(ebm_profile *profile)
{
    pthread_mutex_lock(&lock);
    bool last = --profile->owners == 0;
    pthread_mutex_unlock(&lock);
    if (!last) return;
    for (ebm__profile_plan *at = profile->first, *next; at; at = next) {
        next = at->next;
        ebm_plan_release(at->plan);
        ebm__free(at->kernel);
        ebm__free(at);
    }
    ebm__free(profile);
}

void ebm_profile_free(ebm_profile *profile)
{
    if (!profile) return;
    ebm_profile_stop(profile);
    release(profile);
}

ebm_status ebm_profile_start(ebm_profile *profile)
{
    ebm_profile *none = NULL;
    if (atomic_compare_exchange_strong(&on, &none, profile)) return EBM_OK;
    return ebm_fail(EBM_STATE, "profile: another one is on, expected one at a time");
}

void ebm_profile_stop(ebm_profile *profile)
{
    pthread_mutex_lock(&lock); /* nobody enters it now */
    atomic_compare_exchange_strong(&on, &profile, NULL);
    pthread_mutex_unlock(&lock);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static ebm_status add_plan(ebm__profile_plan **out, ebm_profile *profile, ebm_plan *plan)
{
    ebm__profile_plan *at = ebm__alloc(1, sizeof *at);
    count *kernel = ebm__alloc((size_t)plan->n_kernel, sizeof *kernel);
    if (!at || !kernel) {
        ebm__free(at);
        ebm__free(kernel);
        return EBM_NOMEM;
    }
    *at = (ebm__profile_plan){.profile = profile,
                              .plan = ebm_plan_retain(plan),
                              .number = profile->n_plans++,
                              .kernel = kernel};
    *(profile->last ? &profile->last->next : &profile->first) = at;
    profile->last = at;
    *out = at;
    return EBM_OK;
}

ebm_status ebm__profile_enter(ebm__profile_plan **out, ebm_plan *plan)
{
    *out = NULL;
    if (!atomic_load_explicit(&on, memory_order_relaxed)) return EBM_OK;
    ebm_status status = EBM_OK;
    pthread_mutex_lock(&lock);
    ebm_profile *profile = atomic_load(&on);
    if (profile) {
        ebm__profile_plan *at = profile->first;
        while (at && at->plan != plan) at = at->next;
        if (at)
            *out = at;
        else
            status = add_plan(out, profile, plan);
        profile->owners += status == EBM_OK;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

void ebm__profile_add(ebm__profile_plan *at, int32_t kernel, int64_t nanoseconds)
{
    atomic_fetch_add_explicit(&at->kernel[kernel].calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&at->kernel[kernel].nanoseconds, nanoseconds, memory_order_relaxed);
}

void ebm__profile_leave(ebm__profile_plan *at)
{
    if (at) release(at->profile);
}

/* ---- what a kernel costs --------------------------------------------------------------------- */

static double size_of(const ebm_view *view)
{
    double n = 1;
    for (int32_t k = 0; k < view->rank; k++) n *= (double)view->shape[k];
    return n;
}

/* Elements that lie apart: a broadcast axis counts once. */
static double bytes_of(const ebm_view *view)
{
    double n = (double)ebm_dtype_size((ebm_dtype)view->dtype);
    for (int32_t k = 0; k < view->rank; k++)
        if (view->stride[k] != 0 || view->shape[k] == 0) n *= (double)view->shape[k];
    return n;
}

static double flops_of_regions(const ebm_kernel_args *args, const ebm_view *out)
{
    double flops = 0;
    for (int32_t k = 0; k < args->n_out; k += args->region->n_out)
        flops += args->region->n_instr * size_of(&out[k]);
    return flops;
}

/* Of several arrays too. */
static double flops_of_reduction(const ebm_kernel_args *args, const ebm_view *in)
{
    double flops = 0;
    for (int32_t k = 0; k < args->n_in; k++) flops += size_of(&in[k]);
    return flops;
}

static double flops_of(const ebm_kernel_args *args, const ebm_view *in, const ebm_view *out)
{
    const ebm_view *w = &in[1];
    switch (args->op) {
    case EBM_OP_REGION:
    case EBM_OP_REGIONS: return flops_of_regions(args, out);
    case EBM_OP_sum:
    case EBM_OP_max: return flops_of_reduction(args, in);
    case EBM_OP_matmul:
        return 2 * size_of(out) * (double)in[0].shape[in[0].rank - (args->attr[0] ? 2 : 1)];
    case EBM_OP_conv:
        return 2 * size_of(out) * (double)(w->shape[0] * w->shape[1] * w->shape[2]);
    case EBM_OP_conv_data:
        return 2 * size_of(in) * (double)(w->shape[0] * w->shape[1] * w->shape[2]);
    case EBM_OP_conv_weight:
        return 2 * size_of(w) * (double)(out->shape[0] * out->shape[1] * out->shape[2]);
    default: break;
    }
    return ebm_op_get((ebm_op)args->op)->family == EBM_FAMILY_MOVE
               ? 0
               : size_of(args->n_in ? in : out);
}

void ebm__kernel_cost(const ebm_plan *plan, int32_t number, double *flops, double *bytes)
{
    const ebm__kernel *kernel = &plan->kernel[number];
    const ebm_view *in = plan->view + kernel->first_view, *out = in + kernel->args.n_in;
    *flops = flops_of(&kernel->args, in, out);
    *bytes = 0;
    for (const ebm_view *view = in; view < out + kernel->args.n_out; view++)
        *bytes += bytes_of(view);
}

/* ---- reading --------------------------------------------------------------------------------- */

int64_t ebm_profile_count(ebm_profile *profile)
{
    int64_t n = 0;
    pthread_mutex_lock(&lock);
    for (const ebm__profile_plan *at = profile->first; at; at = at->next)
        n += at->plan->n_kernel;
    pthread_mutex_unlock(&lock);
    return n;
}

/* A buffer that words are put behind one another in; what does not fit is left out. */
typedef struct words {
    char *text;
    size_t size, used;
} words;

static void put(words *w, const char *word)
{
    size_t n = strlen(word);
    if (w->used + n + 1 > w->size) return;
    memcpy(w->text + w->used, word, n + 1);
    w->used += n;
}

static void put_views(words *w, const ebm_view *view, int32_t n)
{
    for (int32_t k = 0; k < n; k++) {
        char text[128];
        ebm_shape shape = {.rank = view[k].rank};
        for (int32_t i = 0; i < shape.rank; i++) shape.dim[i] = view[k].shape[i];
        put(w, k > 0 ? ", " : "");
        put(w, ebm_dtype_name((ebm_dtype)view[k].dtype));
        put(w, ebm_shape_text(&shape, text, sizeof text));
    }
}

static void describe(words *w, const ebm_kernel_args *args, const ebm_view *in)
{
    if (args->region && args->region->draw)
        for (int32_t k = 0; k < args->n_in; k++) {
            if (args->region->draw[k].op == 0) continue;
            put(w, ebm_op_get((ebm_op)args->region->draw[k].op)->name);
            put(w, " ");
        }
    if (args->region)
        for (int32_t k = 0; k < args->region->n_instr; k++) {
            put(w, k > 0 ? " " : "");
            put(w, ebm_op_get((ebm_op)args->region->instr[k].op)->name);
        }
    put(w, args->region ? ": " : "");
    put_views(w, in, args->n_in);
    put(w, " -> ");
    put_views(w, in + args->n_in, args->n_out);
}

ebm_profile_row ebm_profile_get(ebm_profile *profile, int64_t index)
{
    ebm_profile_row row = {.op = ""};
    pthread_mutex_lock(&lock);
    const ebm__profile_plan *at = profile->first;
    for (; at && index >= at->plan->n_kernel; at = at->next) index -= at->plan->n_kernel;
    pthread_mutex_unlock(&lock);
    if (!at) return row;
    const ebm__kernel *kernel = &at->plan->kernel[index];
    const ebm_view *in = at->plan->view + kernel->first_view;
    row.plan = at->number;
    row.kernel = (int32_t)index;
    row.op = ebm_op_get((ebm_op)kernel->args.op)->name;
    row.calls = atomic_load_explicit(&at->kernel[index].calls, memory_order_relaxed);
    row.seconds = 1e-9 * (double)atomic_load_explicit(&at->kernel[index].nanoseconds,
                                                      memory_order_relaxed);
    ebm__kernel_cost(at->plan, row.kernel, &row.flops, &row.bytes);
    words w = {.text = row.text, .size = sizeof row.text};
    describe(&w, &kernel->args, in);
    return row;
}
