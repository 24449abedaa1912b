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

/* START gives what is carried beside x; LEG and REST walk, and put the new carries in the place of
 * the old ones. */
typedef enum part { START, LEG, REST, N_PARTS } part;

struct ebm_chain {
    const ebm_sampler_kind *kind;
    ebm_chain_options options; /* block: as found */
    ebm_plan *plan[N_PARTS];   /* NULL: nothing to do */
    ebm_workspace *workspace[N_PARTS];
    void **in[N_PARTS];
    ebm_tensor *key, *first, *carry[EBM_SAMPLER_MAX], *info[EBM_SAMPLER_MAX];
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

/* Writes the graph of a part; the number of its outputs, carries and then reports. */
static int32_t write(const making *m, part which, ebm_graph *g, ebm_ref *outs)
{
    const ebm_chain_options *o = &m->chain->options;
    const ebm_sampler_kind *kind = m->chain->kind;
    const ebm_plan *start = m->chain->plan[START];
    ebm_shape three = EBM_DIMS(3), scalar = EBM_SCALAR, x = o->x;
    x.dim[0] = o->block;
    ebm_ref key = ebm_graph_input(g, "key", EBM_I32, &three);
    ebm_ref first = ebm_graph_input(g, "first", EBM_I32, &scalar);
    outs[0] = ebm_graph_input(g, "x", o->dtype, &x);
    if (which == START) {
        ebm_ref carry[EBM_SAMPLER_MAX];
        ebm_sampler_start(m->sampler, m->energy, NULL, g, outs[0], carry);
        for (int32_t k = 1; k < kind->n_carry; k++) outs[k - 1] = carry[k];
        return kind->n_carry - 1;
    }
    for (int32_t k = 1; k < kind->n_carry; k++) {
        ebm_shape shape = ebm_plan_output_shape(start, k - 1);
        outs[k] = ebm_graph_input(g, NULL, ebm_plan_output_dtype(start, k - 1), &shape);
    }
    bool info = which == LEG && o->info;
    ebm_sampler_leg(m->sampler, m->energy, NULL, g, key, first, which == LEG ? o->leg : o->rest,
                    outs, info ? outs + kind->n_carry : NULL);
    return kind->n_carry + (info ? kind->n_info : 0);
}

static ebm_status make_plan(making *m, part which)
{
    ebm_chain *chain = m->chain;
    ebm_graph *g = NULL;
    ebm_plan *plan = NULL;
    ebm_ref outs[MAX_OUT] = {0};
    int32_t alias[MAX_OUT];
    for (int32_t k = 0; k < MAX_OUT; k++)
        alias[k] = k < chain->kind->n_carry ? IN_CARRY + k : -1;
    ebm_plan_options options = {chain->options.device, true, which == START ? NULL : alias};
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
    if (m->chain->kind->n_carry > 1) EBM_TRY(make_plan(m, START));
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
    int32_t n_carry = chain->kind->n_carry;
    ebm_shape three = EBM_DIMS(3), scalar = EBM_SCALAR;
    EBM_TRY(ebm_tensor_new(&chain->key, device, EBM_I32, &three));
    EBM_TRY(ebm_tensor_new(&chain->first, device, EBM_I32, &scalar));
    for (int32_t k = 0; k < ebm_plan_n_outputs(plan); k++) {
        ebm_tensor **tensor = k < n_carry ? &chain->carry[k] : &chain->info[k - n_carry];
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
        for (int32_t c = 0; c < (k == START ? 1 : chain->kind->n_carry); c++)
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

/* ---- running ----------------------------------------------------------------------------- */

static ebm_status to_device(const ebm_chain *chain, const ebm_tensor *to, const void *host,
                            size_t bytes)
{
    return chain->options.device->to_device(chain->options.device, to->data, host, bytes);
}

/* The first `rows` rows of an array, to row `row` of one in host memory; NULL: nowhere. */
static ebm_status to_host(const ebm_chain *chain, void *host, const ebm_tensor *from,
                          int64_t row, int64_t rows)
{
    if (!host || rows == 0) return EBM_OK;
    size_t size = ebm_tensor_bytes(from) / (size_t)from->shape.dim[0];
    return chain->options.device->to_host(chain->options.device,
                                          (char *)host + (size_t)row * size, from->data,
                                          (size_t)rows * size);
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
    int32_t n_carry = chain->kind->n_carry;
    if (!chain->plan[which]) return EBM_OK;
    for (int32_t k = which == START; k < n_carry; k++)
        out[which == START ? k - 1 : k] = chain->carry[k]->data;
    for (int32_t k = 0; chain->info[k] && k < chain->kind->n_info; k++)
        out[n_carry + k] = chain->info[k]->data;
    EBM_TRY(to_device(chain, chain->first, &step, sizeof step));
    EBM_TRY(ebm_plan_run(chain->workspace[which], chain->in[which], out, poll));
    return poll_now(chain, poll);
}

/* Rows row .. row + rows - 1, the first of the block's; what is behind them is that of the block
 * before, and nobody's. */
static ebm_status run_block(ebm_chain *chain, const ebm_chain_run_args *args, int64_t row,
                            int64_t rows, const ebm_poll *poll)
{
    const ebm_chain_options *o = &chain->options;
    const ebm_tensor *x = chain->carry[0];
    uint32_t key[3] = {args->key[0], args->key[1], (uint32_t)row};
    size_t size = rows ? ebm_tensor_bytes(x) / (size_t)o->block : 0;
    int64_t all = o->x.dim[0];
    int32_t step = args->first;
    EBM_TRY(to_device(chain, chain->key, key, sizeof key));
    EBM_TRY(to_device(chain, x, (const char *)args->x + (size_t)row * size, (size_t)rows * size));
    EBM_TRY(run_part(chain, START, step, poll));
    for (int64_t leg = 0; leg < args->legs; leg++, step += (int32_t)o->leg) {
        EBM_TRY(run_part(chain, LEG, step, poll));
        EBM_TRY(to_host(chain, args->trace, x, leg * all + row, rows));
        for (int32_t k = 0; o->info && k < chain->kind->n_info; k++)
            EBM_TRY(to_host(chain, args->info[k], chain->info[k], leg * all + row, rows));
    }
    EBM_TRY(run_part(chain, REST, step, poll));
    return to_host(chain, args->x_out, x, row, rows);
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
    for (int64_t row = 0; row < rows; row += block)
        EBM_TRY(run_block(chain, args, row, rows - row < block ? rows - row : block, poll));
    return EBM_OK;
}
