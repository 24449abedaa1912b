/* chain.c - a walk compiled for one energy and shape. */
#include "base/alloc.h"
#include "base/clock.h"
#include "ops/ops.h"
#include "samplers/sampler.h"

/* The inputs of a graph: the key with the block's first row, the number of the first step, what the
 * sampler carries; then captured ones. */
enum { IN_KEY, IN_FIRST, IN_CARRY };
enum { MAX_OUT = 2 * EBM_SAMPLER_MAX };

/* Between two looks at the poll. */
static const double POLL_SECONDS = 0.05;

/* INIT gives what lasts beside x, DERIVE what follows from x, and whether it is finite; LEG and
 * REST walk, and put the new arrays in the place of the old ones. */
typedef enum part { INIT, DERIVE, LEG, REST, N_PARTS } part;

struct ebm_chain {
    const ebm_sampler_kind *kind;
    ebm_chain_options options; /* block: as found */
    ebm_plan *plan[N_PARTS];   /* NULL: nothing to do */
    ebm_workspace *workspace[N_PARTS];
    void **in[N_PARTS];
    ebm_tensor *key, *first, *finite, *carry[EBM_SAMPLER_MAX], *info[EBM_SAMPLER_MAX];
    bool *found; /* what `finite` holds, on the host */
    double polled;
};

static ebm_status check(const ebm_sampler *sampler, const ebm_energy *energy,
                        const ebm_chain_options *options)
{
    const char *name = ebm_sampler_get_kind(sampler)->options.owner;
    EBM_TRY(ebm_energy_require_rows(energy, name));
    if (!ebm_dtype_is_float(options->dtype))
        return ebm_fail(EBM_DTYPE, "%s: x0: got %s, expected f32 or f64", name,
                        ebm_dtype_name(options->dtype));
    if (options->x.rank < 1)
        return ebm_fail(EBM_SHAPE, "%s: x0: got a scalar, expected rows (N, ...)", name);
    if (options->leg < 0 || options->leg > INT32_MAX || options->rest < 0 ||
        options->rest > INT32_MAX)
        return ebm_fail(EBM_VALUE,
                        "%s: n_steps: got legs of %lld and %lld, expected 0 to 2^31 - 1", name,
                        (long long)options->leg, (long long)options->rest);
    if (options->block < EBM_CHAIN_FIT || options->block % EBM_CHAIN_BLOCK > 0)
        return ebm_fail(EBM_VALUE, "%s: block: got %lld rows, expected a multiple of %d", name,
                        (long long)options->block, (int)EBM_CHAIN_BLOCK);
    EBM_CHECK(!options->info || options->leg > 0);
    return EBM_OK;
}

/* ---- compiling --------------------------------------------------------------------------- */

/* Whether a draw of the energy's own is in the graph: it would be the same in each block. */
static bool has_own_draws(const ebm_graph *g)
{
    for (ebm_ref ref = 1; ref < ebm_graph_count(g); ref++) {
        ebm_node node = ebm_graph_node(g, ref);
        bool draws = node.op == EBM_OP_bits || node.op == EBM_OP_uniform ||
                     node.op == EBM_OP_normal || node.op == EBM_OP_randint;
        if (draws && ebm_ref_shape(g, node.in[0]).dim[0] == 2) return true;
        if (node.op == EBM_OP_repeat && has_own_draws(ebm_repeat_body(g, ref).graph))
            return true;
    }
    return false;
}

/* A chain that is being made, and what from. */
typedef struct making {
    ebm_chain *chain;
    const ebm_sampler *sampler;
    const ebm_energy *energy;
    bool own_draws; /* found in the graphs */
} making;

static int32_t n_arrays(const ebm_chain *chain)
{
    return chain->kind->n_carry + chain->kind->n_derived;
}

/* Rows of which all numbers are finite: (N,). */
static ebm_ref finite_rows(const ebm_sampler_kind *kind, ebm_graph *g, const ebm_ref *carry)
{
    ebm_ref all = EBM_NONE;
    for (int32_t k = kind->n_carry; k < kind->n_carry + kind->n_derived; k++) {
        ebm_ref good = ebm_isfinite(g, carry[k]);
        if (good == EBM_POISON) return EBM_POISON;
        int64_t behind = (1 << ebm_ref_shape(g, good).rank) - 2;
        if (behind) good = ebm_all(g, good, behind, false);
        all = all == EBM_NONE ? good : ebm_logical_and(g, all, good);
    }
    return all;
}

/* The arrays that go along, as inputs; of what lasts and what is derived there are plans. */
static void make_inputs(const ebm_chain *chain, ebm_graph *g, ebm_ref *outs)
{
    int32_t n_carry = chain->kind->n_carry;
    for (int32_t k = 1; k < n_arrays(chain); k++) {
        const ebm_plan *plan = chain->plan[k < n_carry ? INIT : DERIVE];
        int32_t at = k < n_carry ? k - 1 : k - n_carry;
        ebm_shape shape = ebm_plan_output_shape(plan, at);
        outs[k] = ebm_graph_input(g, NULL, ebm_plan_output_dtype(plan, at), &shape);
    }
}

/* Writes the graph of a part; the number of its outputs, arrays and then reports. */
static int32_t write(const making *m, part which, ebm_graph *g, ebm_ref *outs)
{
    const ebm_chain_options *o = &m->chain->options;
    const ebm_sampler_kind *kind = m->chain->kind;
    ebm_shape three = EBM_DIMS(3), scalar = EBM_SCALAR, x = o->x;
    ebm_ref carry[EBM_SAMPLER_MAX];
    x.dim[0] = o->block;
    ebm_ref key = ebm_graph_input(g, "key", EBM_I32, &three);
    ebm_ref first = ebm_graph_input(g, "first", EBM_I32, &scalar);
    outs[0] = carry[0] = ebm_graph_input(g, "x", o->dtype, &x);
    if (which == INIT) {
        ebm_sampler_init(m->sampler, m->energy, NULL, g, carry[0], carry);
        for (int32_t k = 1; k < kind->n_carry; k++) outs[k - 1] = carry[k];
        return kind->n_carry - 1;
    }
    if (which == DERIVE) {
        ebm_sampler_derive(m->sampler, m->energy, NULL, g, carry);
        for (int32_t k = 0; k < kind->n_derived; k++) outs[k] = carry[kind->n_carry + k];
        outs[kind->n_derived] = finite_rows(kind, g, carry);
        return kind->n_derived + 1;
    }
    make_inputs(m->chain, g, outs);
    bool info = which == LEG && o->info;
    ebm_sampler_leg(m->sampler, m->energy, NULL, g, key, first, which == LEG ? o->leg : o->rest,
                    outs, info ? outs + n_arrays(m->chain) : NULL);
    return n_arrays(m->chain) + (info ? kind->n_info : 0);
}

static ebm_status make_plan(making *m, part which)
{
    ebm_chain *chain = m->chain;
    ebm_graph *g = NULL;
    ebm_plan *plan = NULL;
    ebm_ref outs[MAX_OUT] = {0};
    int32_t alias[MAX_OUT];
    for (int32_t k = 0; k < MAX_OUT; k++) alias[k] = k < n_arrays(chain) ? IN_CARRY + k : -1;
    ebm_plan_options options = {chain->options.device, true, which < LEG ? NULL : alias};
    EBM_TRY(ebm_graph_new(&g));
    int32_t n_out = write(m, which, g, outs);
    ebm_status status = ebm_plan_new(&plan, g, outs, n_out, &options);
    if (status == EBM_OK) m->own_draws |= has_own_draws(g);
    ebm_graph_free(g);
    ebm_plan_release(chain->plan[which]);
    chain->plan[which] = plan;
    return status;
}

static ebm_status make_plans(making *m)
{
    const ebm_chain_options *o = &m->chain->options;
    if (m->chain->kind->n_carry > 1) EBM_TRY(make_plan(m, INIT));
    if (m->chain->kind->n_derived > 0) EBM_TRY(make_plan(m, DERIVE));
    EBM_TRY(make_plan(m, LEG));
    return o->rest > 0 ? make_plan(m, REST) : EBM_OK;
}

size_t ebm_chain_bytes(const ebm_chain *chain)
{
    size_t bytes = 0;
    for (int k = 0; k < N_PARTS; k++)
        if (chain->plan[k]) bytes += ebm_plan_arena_bytes(chain->plan[k]);
    const ebm_plan *leg = chain->plan[LEG]; /* its results lie in the chain's own arrays */
    for (int32_t k = 0; k < ebm_plan_n_outputs(leg); k++) {
        ebm_shape shape = ebm_plan_output_shape(leg, k);
        bytes += (size_t)ebm_shape_size(&shape) * ebm_dtype_size(ebm_plan_output_dtype(leg, k));
    }
    return bytes;
}

/* Plans for all rows; where they are too large, and may be cut, for as many rows as fit. */
static ebm_status fit(making *m, int64_t wanted)
{
    ebm_chain_options *o = &m->chain->options;
    int64_t rows = o->x.dim[0];
    o->block = wanted > 0 && wanted < rows ? wanted : rows;
    EBM_TRY(make_plans(m));
    if (o->block < rows && m->own_draws)
        return ebm_fail(EBM_VALUE,
                        "%s: block: the energy draws random numbers, which would be the "
                        "same in each block of rows",
                        m->chain->kind->options.owner);
    size_t bytes = ebm_chain_bytes(m->chain);
    if (wanted != EBM_CHAIN_FIT || m->own_draws || bytes <= EBM_CHAIN_BYTES) return EBM_OK;
    int64_t fitting = (int64_t)((double)rows * EBM_CHAIN_BYTES / (double)bytes);
    int64_t block = (fitting / EBM_CHAIN_BLOCK + 1) * EBM_CHAIN_BLOCK;
    if (block >= rows) return EBM_OK;
    o->block = block;
    return make_plans(m);
}

static ebm_status make_arrays(ebm_chain *chain)
{
    const ebm_device *device = chain->options.device;
    const ebm_plan *plan = chain->plan[LEG];
    int32_t n = n_arrays(chain);
    ebm_shape three = EBM_DIMS(3), scalar = EBM_SCALAR, rows = EBM_DIMS(chain->options.block);
    EBM_TRY(ebm_tensor_new(&chain->key, device, EBM_I32, &three));
    EBM_TRY(ebm_tensor_new(&chain->first, device, EBM_I32, &scalar));
    if (chain->plan[DERIVE]) {
        EBM_TRY(ebm_tensor_new(&chain->finite, device, EBM_BOOL, &rows));
        chain->found = ebm__alloc((size_t)rows.dim[0] + 1, sizeof *chain->found);
        if (!chain->found) return EBM_NOMEM;
    }
    for (int32_t k = 0; k < ebm_plan_n_outputs(plan); k++) {
        ebm_tensor **tensor = k < n ? &chain->carry[k] : &chain->info[k - n];
        ebm_shape shape = ebm_plan_output_shape(plan, k);
        EBM_TRY(ebm_tensor_new(tensor, device, ebm_plan_output_dtype(plan, k), &shape));
    }
    return EBM_OK;
}

static ebm_status make_workspaces(ebm_chain *chain)
{
    for (int k = 0; k < N_PARTS; k++) {
        ebm_plan *plan = chain->plan[k];
        if (!plan) continue;
        EBM_TRY(ebm_workspace_new(&chain->workspace[k], plan));
        chain->in[k] = ebm__alloc((size_t)ebm_plan_n_inputs(plan), sizeof *chain->in[k]);
        if (!chain->in[k]) return EBM_NOMEM;
        chain->in[k][IN_KEY] = chain->key->data;
        chain->in[k][IN_FIRST] = chain->first->data;
        for (int32_t c = 0; c < (k < LEG ? 1 : n_arrays(chain)); c++)
            chain->in[k][IN_CARRY + c] = chain->carry[c]->data;
    }
    return EBM_OK;
}

ebm_status ebm_chain_new(ebm_chain **out, const ebm_sampler *sampler, const ebm_energy *energy,
                         const ebm_chain_options *options)
{
    EBM_TRY(check(sampler, energy, options));
    ebm_chain *chain = ebm__alloc(1, sizeof *chain);
    if (!chain) return EBM_NOMEM;
    chain->kind = ebm_sampler_get_kind(sampler);
    chain->options = *options;
    making m = {chain, sampler, energy, false};
    ebm_status status = fit(&m, options->block);
    if (status == EBM_OK) status = make_arrays(chain);
    if (status == EBM_OK) status = make_workspaces(chain);
    if (status == EBM_OK)
        *out = chain;
    else
        ebm_chain_free(chain);
    return status;
}

void ebm_chain_free(ebm_chain *chain)
{
    if (!chain) return;
    for (int k = 0; k < N_PARTS; k++) {
        ebm_workspace_free(chain->workspace[k]);
        ebm_plan_release(chain->plan[k]);
        ebm__free(chain->in[k]);
    }
    ebm_tensor_release(chain->key);
    ebm_tensor_release(chain->first);
    ebm_tensor_release(chain->finite);
    ebm__free(chain->found);
    for (int32_t k = 0; k < EBM_SAMPLER_MAX; k++) {
        ebm_tensor_release(chain->carry[k]);
        ebm_tensor_release(chain->info[k]);
    }
    ebm__free(chain);
}

int64_t ebm_chain_block(const ebm_chain *chain)
{
    return chain->options.block;
}

ebm_dtype ebm_chain_carry_dtype(const ebm_chain *chain, int32_t k)
{
    return chain->carry[k]->dtype;
}

ebm_shape ebm_chain_carry_shape(const ebm_chain *chain, int32_t k)
{
    ebm_shape shape = chain->carry[k]->shape;
    shape.dim[0] = chain->options.x.dim[0];
    return shape;
}

/* ---- running ----------------------------------------------------------------------------- */

static ebm_status to_device(const ebm_chain *chain, const ebm_tensor *to, const void *host,
                            size_t bytes)
{
    return chain->options.device->to_device(chain->options.device, to->data, host, bytes);
}

/* Rows from row `row` of an array in host memory on, to the first ones of a block's. */
static ebm_status rows_to_device(const ebm_chain *chain, const ebm_tensor *to, const void *host,
                                 int64_t row, int64_t rows)
{
    if (rows == 0) return EBM_OK;
    size_t size = ebm_tensor_bytes(to) / (size_t)to->shape.dim[0];
    return to_device(chain, to, (const char *)host + (size_t)row * size, (size_t)rows * size);
}

/* The first `rows` rows of an array, to row `row` of one in host memory, by the end of the run; NULL:
 * nowhere. */
static ebm_status fetch(const ebm_chain *chain, void *host, const ebm_tensor *from, int64_t row,
                        int64_t rows)
{
    if (!host || rows == 0) return EBM_OK;
    size_t size = ebm_tensor_bytes(from) / (size_t)from->shape.dim[0];
    return chain->options.device->fetch(chain->options.device, (char *)host + (size_t)row * size,
                                        from->data, (size_t)rows * size);
}

static ebm_status poll_now(ebm_chain *chain, const ebm_poll *poll)
{
    double t = ebm_clock();
    if (!poll || !poll->stop || t - chain->polled < POLL_SECONDS) return EBM_OK;
    chain->polled = t;
    return poll->stop(poll->context) ? ebm_fail(EBM_CANCELLED, "chain: stopped") : EBM_OK;
}

/* A part from step `step` on; the poll is asked within long parts and between short ones. */
static ebm_status run_part(ebm_chain *chain, part which, int32_t step, const ebm_poll *poll)
{
    void *out[MAX_OUT] = {0};
    int32_t n_carry = chain->kind->n_carry, n = n_arrays(chain);
    if (!chain->plan[which]) return EBM_OK;
    int32_t from = which == INIT ? 1 : which == DERIVE ? n_carry : 0;
    for (int32_t k = from; k < (which == INIT ? n_carry : n); k++)
        out[k - from] = chain->carry[k]->data;
    if (which == DERIVE) out[n - from] = chain->finite->data;
    for (int32_t k = 0; which >= LEG && chain->info[k] && k < chain->kind->n_info; k++)
        out[n + k] = chain->info[k]->data;
    EBM_TRY(to_device(chain, chain->first, &step, sizeof step));
    EBM_TRY(ebm_plan_run(chain->workspace[which], chain->in[which], out, poll));
    return poll_now(chain, poll);
}

static ebm_status check_finite(const ebm_chain *chain, int64_t row, int64_t rows)
{
    const ebm_device *device = chain->options.device;
    if (!chain->finite) return EBM_OK;
    EBM_TRY(device->to_host(device, chain->found, chain->finite->data, (size_t)rows));
    for (int64_t k = 0; k < rows; k++)
        if (!chain->found[k])
            return ebm_fail(
                EBM_NUMERIC,
                "%s: the energy or its gradient is not finite where chain %lld stands",
                chain->kind->options.owner, (long long)(row + k));
    return EBM_OK;
}

/* What chains stand at: x, and what lasts or is begun beside it. */
static ebm_status begin(ebm_chain *chain, const ebm_chain_run_args *args, int64_t row,
                        int64_t rows, const ebm_poll *poll)
{
    EBM_TRY(rows_to_device(chain, chain->carry[0], args->x, row, rows));
    if (!args->carry[1]) EBM_TRY(run_part(chain, INIT, args->first, poll));
    for (int32_t k = 1; args->carry[1] && k < chain->kind->n_carry; k++)
        EBM_TRY(rows_to_device(chain, chain->carry[k], args->carry[k], row, rows));
    EBM_TRY(run_part(chain, DERIVE, args->first, poll));
    return check_finite(chain, row, rows);
}

/* Rows row .. row + rows - 1, the first of the block's; what is behind them is that of the block
 * before, and nobody's. */
static ebm_status run_block(ebm_chain *chain, const ebm_chain_run_args *args, int64_t row,
                            int64_t rows, const ebm_poll *poll)
{
    const ebm_chain_options *o = &chain->options;
    uint32_t key[3] = {args->key[0], args->key[1], (uint32_t)row};
    int64_t all = o->x.dim[0];
    int32_t step = args->first;
    EBM_TRY(to_device(chain, chain->key, key, sizeof key));
    EBM_TRY(begin(chain, args, row, rows, poll));
    for (int64_t leg = 0; leg < args->legs; leg++, step += (int32_t)o->leg) {
        EBM_TRY(run_part(chain, LEG, step, poll));
        EBM_TRY(fetch(chain, args->trace, chain->carry[0], leg * all + row, rows));
        for (int32_t k = 0; o->info && k < chain->kind->n_info; k++)
            EBM_TRY(fetch(chain, args->info[k], chain->info[k], leg * all + row, rows));
    }
    EBM_TRY(run_part(chain, REST, step, poll));
    for (int32_t k = 1; k < chain->kind->n_carry; k++)
        EBM_TRY(fetch(chain, args->carry_out[k], chain->carry[k], row, rows));
    return fetch(chain, args->x_out, chain->carry[0], row, rows);
}

ebm_status ebm_chain_run(ebm_chain *chain, const ebm_chain_run_args *args, const ebm_poll *poll)
{
    const ebm_chain_options *o = &chain->options;
    int64_t rows = o->x.dim[0], block = o->block;
    double steps = (double)args->first + (double)args->legs * (double)o->leg + (double)o->rest;
    if (args->first < 0 || steps > INT32_MAX)
        return ebm_fail(EBM_VALUE, "%s: n_steps: got steps up to %.0f, expected 2^31 - 1 at most",
                        chain->kind->options.owner, steps);
    chain->polled = ebm_clock();
    ebm_status status = EBM_OK;
    for (int64_t row = 0; row < rows && status == EBM_OK; row += block)
        status = run_block(chain, args, row, rows - row < block ? rows - row : block, poll);
    ebm_status arrived = o->device->sync(o->device); /* after an error too: arrays are the caller's */
    return status == EBM_OK ? arrived : status;
}
