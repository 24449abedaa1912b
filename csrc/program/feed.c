/* feed.c - batches of rows, in keyed permutations of the data.
 *
 * The rows are visited as a sequence of permutations, one an epoch, without a gap: step t of
 * batches of B takes positions t B .. t B + B - 1, so a step knows its rows from the key and
 * its number alone and a resumed run goes on as if it had never stopped.  An epoch's
 * permutation is the shuffle of Fisher and Yates with the words of fold_in(key, epoch), made
 * when first asked for; it takes 8 bytes a row. */
#include <string.h>

#include "base/alloc.h"
#include "base/threads.h"
#include "ops/ops.h"
#include "program/internal.h"

/* The drawing site of the shuffle. */
enum { PURPOSE_SHUFFLE = 0x73687566 };

/* A copy of fewer elements than this is not worth a second thread. */
enum { SERIAL_ELEMENTS = 1 << 16 };

ebm_status ebm__rows_check(const ebm_rows *rows, const ebm_tensor *batch)
{
    const ebm_shape *shape = &batch->shape;
    if (shape->rank < 1 || !ebm_dtype_is_float(batch->dtype))
        return ebm_fail(EBM_DTYPE, "feed: got a batch of %s of rank %d, expected floats in rows",
                        ebm_dtype_name(batch->dtype), (int)shape->rank);
    if (rows->dtype != EBM_U8 && !ebm_dtype_is_float(rows->dtype))
        return ebm_fail(EBM_DTYPE, "feed: got rows of %s, expected u8, f32 or f64",
                        ebm_dtype_name(rows->dtype));
    int64_t count = shape->dim[0], row = count ? ebm_shape_size(shape) / count : 0;
    if (rows->row != row)
        return ebm_fail(EBM_SHAPE, "feed: rows: got %lld elements, expected %lld",
                        (long long)rows->row, (long long)row);
    if (count < 1 || count > rows->n || rows->n > INT32_MAX)
        return ebm_fail(EBM_VALUE,
                        "feed: got batches of %lld of %lld rows, expected 1 to all of them",
                        (long long)count, (long long)rows->n);
    return EBM_OK;
}

static ebm_status check(const ebm_rows *rows, const ebm_tensor *batch, const ebm_tensor *key,
                        const ebm_tensor *step)
{
    if (key->dtype != EBM_I32 || ebm_shape_size(&key->shape) != 2 || step->dtype != EBM_I32 ||
        ebm_shape_size(&step->shape) != 1)
        return ebm_fail(EBM_DTYPE, "feed: key and step: expected i32 (2,) and i32 ()");
    return ebm__rows_check(rows, batch);
}

/* words = bits(fold_in(key, epoch)), as a plan of the CPU, whose draws are those of every device. */
static ebm_status make_words(ebm_feed *feed)
{
    ebm_shape all = EBM_DIMS(feed->rows.n), two = EBM_DIMS(2), scalar = EBM_SCALAR;
    ebm_graph *g = NULL;
    ebm_plan *plan = NULL;
    EBM_TRY(ebm_graph_new(&g));
    ebm_ref key = ebm_graph_input(g, "key", EBM_I32, &two);
    ebm_ref epoch = ebm_graph_input(g, "epoch", EBM_I32, &scalar);
    ebm_ref words = ebm_random_bits(g, ebm_fold_in(g, key, epoch), PURPOSE_SHUFFLE, &all);
    ebm_plan_options options = {ebm_device_cpu(), true, NULL};
    ebm_status status = ebm_plan_new(&plan, g, &words, 1, &options);
    if (status == EBM_OK) status = ebm_workspace_new(&feed->draw_words, plan);
    ebm_plan_release(plan);
    ebm_graph_free(g);
    return status;
}

static ebm_status make_host_arrays(ebm_feed *feed)
{
    size_t n = (size_t)feed->rows.n;
    feed->order = ebm__alloc(n, sizeof *feed->order);
    feed->words = ebm__alloc(n, sizeof *feed->words);
    if (!feed->order || !feed->words) return EBM_NOMEM;
    if (feed->batch->device->host_memory) return EBM_OK;
    feed->staging = ebm__alloc(ebm_tensor_bytes(feed->batch), 1);
    return feed->staging ? EBM_OK : EBM_NOMEM;
}

ebm_status ebm__feed_new(ebm_feed **out, const ebm_rows *rows, ebm_tensor *batch,
                         ebm_tensor *key, ebm_tensor *step)
{
    EBM_TRY(check(rows, batch, key, step));
    ebm_feed *feed = ebm__alloc(1, sizeof *feed);
    if (!feed) return EBM_NOMEM;
    *feed = (ebm_feed){.rows = *rows, .epoch = -1};
    feed->batch = ebm_tensor_retain(batch);
    feed->key = ebm_tensor_retain(key);
    feed->step = ebm_tensor_retain(step);
    ebm_status status = make_words(feed);
    if (status == EBM_OK) status = make_host_arrays(feed);
    if (status == EBM_OK)
        *out = feed;
    else
        ebm__feed_free(feed);
    return status;
}

void ebm__feed_free(ebm_feed *feed)
{
    if (!feed) return;
    ebm_tensor_release(feed->batch);
    ebm_tensor_release(feed->key);
    ebm_tensor_release(feed->step);
    ebm_workspace_free(feed->draw_words);
    ebm__free(feed->order);
    ebm__free(feed->words);
    ebm__free(feed->staging);
    ebm__free(feed);
}

/* ---- the permutation --------------------------------------------------------------------- */

/* Makes the permutation of an epoch the one at hand. */
static ebm_status turn_to(ebm_feed *feed, uint32_t key[2], int64_t epoch)
{
    int32_t *order = feed->order, number = (int32_t)epoch;
    int64_t n = feed->rows.n;
    void *in[2] = {key, &number}, *out[1] = {feed->words};
    if (feed->epoch == epoch && memcmp(feed->order_key, key, sizeof feed->order_key) == 0)
        return EBM_OK;
    EBM_TRY(ebm_plan_run(feed->draw_words, in, out, NULL));
    for (int64_t i = 0; i < n; i++) order[i] = (int32_t)i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)((uint64_t)feed->words[i] * (uint64_t)(i + 1) >> 32);
        int32_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    memcpy(feed->order_key, key, sizeof feed->order_key);
    feed->epoch = epoch;
    return EBM_OK;
}

/* ---- rows into the batch ----------------------------------------------------------------- */

#define COPY_ROW(name, from_type, to_type)                                                \
    static void name(void *to, const void *from, int64_t n, double scale, double shift)   \
    {                                                                                     \
        to_type *out = to;                                                                \
        const from_type *in = from;                                                       \
        to_type a = (to_type)scale, b = (to_type)shift;                                   \
        for (int64_t i = 0; i < n; i++) out[i] = (to_type)in[i] * a + b;                  \
    }
COPY_ROW(u8_to_f32, uint8_t, float)
COPY_ROW(u8_to_f64, uint8_t, double)
COPY_ROW(f32_to_f32, float, float)
COPY_ROW(f32_to_f64, float, double)
COPY_ROW(f64_to_f32, double, float)
COPY_ROW(f64_to_f64, double, double)

typedef void (*copy_row)(void *to, const void *from, int64_t n, double scale, double shift);

static copy_row find_copy(ebm_dtype from, ebm_dtype to)
{
    bool wide = to == EBM_F64;
    if (from == EBM_U8) return wide ? u8_to_f64 : u8_to_f32;
    if (from == EBM_F32) return wide ? f32_to_f64 : f32_to_f32;
    return wide ? f64_to_f64 : f64_to_f32;
}

/* Whether no exponent has all bits set. */
#define ALL_FINITE(name, bits_type, exponent)                              \
    static bool name(const void *x, int64_t n)                             \
    {                                                                      \
        const char *from = x;                                              \
        bits_type bits, bad = 0;                                           \
        for (int64_t i = 0; i < n; i++) {                                  \
            memcpy(&bits, from + (size_t)i * sizeof bits, sizeof bits);    \
            bad |= (bits & (exponent)) == (exponent);                      \
        }                                                                  \
        return !bad;                                                       \
    }
ALL_FINITE(all_finite_f32, uint32_t, 0x7f800000u)
ALL_FINITE(all_finite_f64, uint64_t, 0x7ff0000000000000u)

typedef struct gather {
    ebm_feed *feed;
    copy_row copy;
    char *to;
    size_t to_stride;
    const int32_t *index;
    bool bad; /* a row has a number that is not finite, or not in the batch's dtype */
} gather;

static bool is_finite(const gather *job, int64_t b)
{
    const char *row = job->to + (size_t)b * job->to_stride;
    bool wide = job->feed->batch->dtype == EBM_F64;
    return (wide ? all_finite_f64 : all_finite_f32)(row, job->feed->rows.row);
}

static void gather_row(void *context, int64_t b)
{
    gather *job = context;
    const ebm_rows *rows = &job->feed->rows;
    const char *from = (const char *)rows->data + job->index[b] * rows->row_stride;
    char *to = job->to + (size_t)b * job->to_stride;
    job->copy(to, from, rows->row, rows->scale, rows->shift);
    if (!is_finite(job, b)) __atomic_store_n(&job->bad, true, __ATOMIC_RELAXED);
}

/* Data that is too large to be looked at whole is looked at here. */
static ebm_status gather_rows(gather *job, int64_t count)
{
    if (count * job->feed->rows.row >= SERIAL_ELEMENTS)
        ebm_parallel(count, gather_row, job);
    else
        for (int64_t b = 0; b < count; b++) gather_row(job, b);
    if (!job->bad) return EBM_OK;
    int64_t b = 0;
    while (is_finite(job, b)) b++;
    return ebm_fail(EBM_VALUE, "feed: row %d of the data: got numbers that are not finite in %s",
                    (int)job->index[b], ebm_dtype_name(job->feed->batch->dtype));
}

/* The rows asked for are gathered epoch by epoch: a batch may begin in one and end in the
 * next. */
static ebm_status fill(ebm_feed *feed, char *to, uint32_t key[2], int64_t step)
{
    const ebm_tensor *batch = feed->batch;
    int64_t count = batch->shape.dim[0], n = feed->rows.n;
    size_t stride = (size_t)feed->rows.row * ebm_dtype_size(batch->dtype);
    copy_row copy = find_copy(feed->rows.dtype, batch->dtype);
    for (int64_t b = 0; b < count;) {
        int64_t place = step * count + b, left = n - place % n;
        int64_t rows = left < count - b ? left : count - b;
        EBM_TRY(turn_to(feed, key, place / n));
        gather job = {feed, copy, to + (size_t)b * stride, stride, feed->order + place % n,
                      false};
        EBM_TRY(gather_rows(&job, rows));
        b += rows;
    }
    return EBM_OK;
}

void ebm__feed_begin(ebm_feed *feed)
{
    feed->step_now = -1;
}

/* The key and the step.  A device is asked once a run and not waited for again: a pass of the
 * program counts the step up, or is bad, and then nothing changes until the run is over. */
static ebm_status look_up(ebm_feed *feed)
{
    const ebm_device *device = feed->batch->device;
    if (feed->staging && feed->step_now >= 0) {
        feed->step_now++;
        return EBM_OK;
    }
    EBM_TRY(device->fetch(device, feed->key_now, feed->key->data, sizeof feed->key_now));
    EBM_TRY(device->to_host(device, &feed->step_now, feed->step->data, sizeof feed->step_now));
    if (feed->step_now >= 0) return EBM_OK;
    return ebm_fail(EBM_VALUE, "feed: step: got %d, expected at least 0", (int)feed->step_now);
}

ebm_status ebm__feed_run(ebm_feed *feed)
{
    const ebm_tensor *batch = feed->batch;
    const ebm_device *device = batch->device;
    EBM_TRY(look_up(feed));
    EBM_TRY(
        fill(feed, feed->staging ? feed->staging : batch->data, feed->key_now, feed->step_now));
    if (!feed->staging) return EBM_OK;
    return device->to_device(device, batch->data, feed->staging, ebm_tensor_bytes(batch));
}
