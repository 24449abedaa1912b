#include "samplers/replay.h"

#include "ops/ops.h"

/* The drawing sites of a key. */
enum { PURPOSE_SLOT = 0x736c6f74, PURPOSE_TURN, PURPOSE_REINIT, PURPOSE_START };

static ebm_ref integer(ebm_graph *g, int64_t value)
{
    return ebm_scalar(g, EBM_I32, (double)value);
}

/* One slot in each of the strata [b C / B, (b + 1) C / B), then a common rotation modulo C. */
static ebm_ref draw_slots(ebm_graph *g, ebm_ref key, int64_t batch, int64_t capacity)
{
    ebm_shape each = EBM_DIMS(batch), scalar = EBM_SCALAR;
    ebm_ref b = ebm_iota(g, EBM_I32, &each, 0), one = integer(g, 1);
    ebm_ref low = ebm_floordiv(g, ebm_mul(g, b, integer(g, capacity)), integer(g, batch));
    ebm_ref high = ebm_floordiv(g, ebm_mul(g, ebm_add(g, b, one), integer(g, capacity)),
                                integer(g, batch));
    ebm_ref bits = ebm_random_bits(g, key, PURPOSE_SLOT, &each);
    ebm_ref slot = ebm_add(g, low, ebm_mod(g, bits, ebm_sub(g, high, low)));
    ebm_ref turn = ebm_randint(g, key, PURPOSE_TURN, capacity, &scalar);
    return ebm_mod(g, ebm_add(g, slot, turn), integer(g, capacity));
}

/* Where a chain begins anew. */
static ebm_ref draw_starts(const ebm_replay_options *options, ebm_graph *g, ebm_ref key,
                           ebm_ref data)
{
    ebm_shape shape = ebm_ref_shape(g, data);
    ebm_dtype dtype = ebm_ref_dtype(g, data);
    switch ((ebm_replay_start)options->buffer_init) {
    case EBM_REPLAY_DATA: return data;
    case EBM_REPLAY_NORMAL: return ebm_normal(g, key, PURPOSE_START, dtype, &shape);
    default:
        return ebm_shift(g, ebm_scale(g, ebm_uniform(g, key, PURPOSE_START, dtype, &shape), 2.0),
                         -1.0);
    }
}

/* (B,) as (B, 1, ..., 1), to be broadcast over rows. */
static ebm_ref beside_rows(ebm_graph *g, ebm_ref flags, int32_t rank)
{
    for (int32_t i = 1; i < rank; i++) flags = ebm_expand_dims(g, flags, -1);
    return flags;
}

ebm_replay_draw ebm_replay_build(const ebm_replay_options *options, ebm_graph *g,
                                 ebm_ref buffer, ebm_ref age, ebm_ref key, ebm_ref data)
{
    ebm_replay_draw draw = {EBM_POISON, EBM_POISON, EBM_POISON};
    if (buffer == EBM_POISON || data == EBM_POISON || age == EBM_POISON) return draw;
    ebm_shape rows = ebm_ref_shape(g, data), each = EBM_DIMS(rows.dim[0]);
    int64_t batch = rows.dim[0], capacity = ebm_ref_shape(g, buffer).dim[0];
    if (batch < 1 || batch > capacity || (batch + 1) * capacity > INT32_MAX) {
        ebm_graph_fail(g, EBM_VALUE,
                       "replay: got batches of %lld from a buffer of %lld, expected "
                       "distinct rows (and batch x buffer below 2^31)",
                       (long long)batch, (long long)capacity);
        return draw;
    }
    ebm_ref slots = draw_slots(g, key, batch, capacity);
    ebm_ref old_age = ebm_take(g, age, slots, 0), zero = integer(g, 0);
    ebm_ref chance = ebm_uniform(g, key, PURPOSE_REINIT, EBM_F32, &each);
    ebm_ref anew = ebm_logical_or(g, ebm_equal(g, old_age, zero),
                                  ebm_less(g, chance, ebm_scalar(g, EBM_F32, options->reinit)));
    draw.slots = slots;
    draw.starts = ebm_select(g, beside_rows(g, anew, rows.rank),
                             draw_starts(options, g, key, data), ebm_take(g, buffer, slots, 0));
    draw.age = ebm_select(g, anew, zero, old_age);
    return draw;
}
