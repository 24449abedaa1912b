/* test_plan_random.c - random programs: planned against node by node, and their derivatives.
 *
 * Seeds are fixed.  PLAN_FUZZ=n in the environment runs n programs a test, PLAN_FUZZ_FROM=s begins
 * with seed s; a program that fails is made shorter and printed with its seed.
 *
 * PLAN_DEVICE=cuda-host runs them there, recorded and replayed too, and holds them to the CPU. */
#define _GNU_SOURCE
#include "base/threads.h"
#include "guard.h"
#include "random_graph.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

enum { GRAPHS = 10000, DERIVATIVES = 1000, ALL_STEPS = 1000 };
enum { ON_DEVICE = 60 }; /* programs a test: a device of the host takes its time */

/* ---- running ----------------------------------------------------------------------------- */

typedef struct setting {
    bool fuse, over, guarded; /* over: outputs take the places of inputs */
    int threads;
    bool card; /* guarded: regions do what they do on a card */
    bool here; /* on the CPU, whatever is tested */
} setting;

static const char *run_isa; /* set between compiling and running; NULL: left as it is */

/* What is tested. */
static const ebm_device *tested(void)
{
    static const ebm_device *device;
    const char *name = getenv("PLAN_DEVICE");
    if (!device) CHECK_OK(ebm_device_get(&device, name ? name : "cpu"));
    return device;
}

static ebm_plan *compile(const random_program *p, const setting *s)
{
    ebm_plan *plan = NULL;
    const ebm_device *bare = s->here ? ebm_device_cpu() : tested();
    guard_use(bare);
    ebm_plan_options options = {s->guarded ? guard_device(s->card) : bare, s->fuse,
                                s->over ? p->alias : NULL};
    /* Small as the loops are, they are cut and run in lanes. */
    if (s->threads > 1)
        setenv("EBMLIB_PLAN", "lanes", 1);
    else
        unsetenv("EBMLIB_PLAN");
    CHECK_OK(ebm_plan_new(&plan, p->g, p->out, p->n_out, &options));
    return plan;
}

static size_t in_bytes(const ebm_plan *plan, int32_t k)
{
    ebm_shape shape = ebm_plan_input_shape(plan, k);
    return bytes_of(ebm_plan_input_dtype(plan, k), &shape);
}

static size_t out_bytes(const ebm_plan *plan, int32_t k)
{
    ebm_shape shape = ebm_plan_output_shape(plan, k);
    return bytes_of(ebm_plan_output_dtype(plan, k), &shape);
}

static void run_once(const random_program *p, ebm_workspace *workspace, void **in, void **place)
{
    for (int32_t k = 0; k < p->n_in; k++) {
        memcpy(in[k], p->in[k], guard_bytes(in[k]));
        guard_written(in[k]);
    }
    CHECK_OK(ebm_plan_run(workspace, in, place, NULL));
    for (int32_t k = 0; k < p->n_out; k++) guard_written(place[k]);
}

/* A second run with the same pointers is recorded, where the device does that, a third replayed.
 * False if they do not give what the first one gave. */
static bool runs_again(const random_program *p, ebm_workspace *workspace, void **in,
                       void **place, void *const *out)
{
    bool same = true;
    for (int turn = 0; turn < 2; turn++) {
        run_once(p, workspace, in, place);
        for (int32_t k = 0; k < p->n_out; k++)
            same &= memcmp(out[k], place[k], guard_bytes(place[k])) == 0;
    }
    return same;
}

/* Runs a program on copies of its inputs; out[k] is a new block.  NULL, or what went wrong. */
static const char *run_program(const random_program *p, const setting *s, void **out)
{
    const int32_t *alias = s->over ? p->alias : NULL;
    ebm_workspace *workspace = NULL;
    void *in[MAX_PORTS] = {NULL}, *place[MAX_PORTS];
    ebm_plan *plan = compile(p, s);
    for (int32_t k = 0; k < p->n_in; k++) in[k] = guard_alloc(in_bytes(plan, k));
    for (int32_t k = 0; k < p->n_out; k++) {
        bool taken = alias && alias[k] >= 0;
        place[k] = taken ? in[alias[k]] : guard_alloc(out_bytes(plan, k));
    }
    ebm_set_num_threads(s->threads);
    CHECK_OK(ebm_workspace_new(&workspace, plan));
    if (run_isa) CHECK_OK(ebm_cpu_set_isa(run_isa));
    run_once(p, workspace, in, place);
    for (int32_t k = 0; k < p->n_out; k++) {
        out[k] = ebm__alloc(out_bytes(plan, k), 1);
        memcpy(out[k], place[k], out_bytes(plan, k));
    }
    bool recorded = ebm_plan_device(plan)->record;
    bool same = !recorded || runs_again(p, workspace, in, place, out);
    for (int32_t k = 0; k < p->n_out; k++)
        if (!alias || alias[k] < 0) guard_free(place[k]);
    for (int32_t k = 0; k < p->n_in; k++) guard_free(in[k]); /* finds a changed input */
    ebm_workspace_free(workspace);
    ebm_plan_release(plan);
    const char *damage = guard_damage();
    return same ? damage : "recorded, it gives something else";
}

/* ---- what a program is held to ----------------------------------------------------------- */

/* Seeds share the instruction sets that the machine has. */
static void use_isa(uint64_t seed)
{
    static const char *const names[] = {"avx2", "baseline", "avx512"};
    for (uint64_t k = 0; k < 3; k++)
        if (ebm_cpu_set_isa(names[(seed + k) % 3]) == EBM_OK) return;
    CHECK_OK(ebm_cpu_set_isa(NULL));
}

/* The output in which two runs differ, or -1. */
static int32_t find_difference(const random_program *p, void *const *a, void *const *b)
{
    for (int32_t k = 0; k < p->n_out; k++) {
        ebm_shape shape = ebm_ref_shape(p->g, p->out[k]);
        ebm_dtype dtype = ebm_ref_dtype(p->g, p->out[k]);
        if (!same_numbers(dtype, a[k], b[k], ebm_shape_size(&shape))) return k;
    }
    return -1;
}

/* Node by node on one thread is the truth; all other ways give its bits.  True if they do. */
static bool runs_agree(const random_program *p, uint64_t seed, char *why, size_t size)
{
    const bool card = seed / 2 % 2;
    const setting settings[] = {{false, false, seed % 8 == 0, 1, false, false},
                                {false, true, false, 2, false, false},
                                {true, true, seed % 2 == 1, 2, card, false},
                                {true, false, seed % 2 == 0, 1, card, false}};
    void *truth[MAX_PORTS], *got[MAX_PORTS];
    for (int i = 0; i < 4; i++) {
        const char *damage = run_program(p, &settings[i], i == 0 ? truth : got);
        int32_t k = i == 0 ? -1 : find_difference(p, got, truth);
        if (i > 0) free_all(got, p->n_out);
        if (damage || k >= 0)
            snprintf(why, size, "%s, %s, %d threads: output %d differs; %s",
                     settings[i].fuse ? "planned" : "node by node",
                     settings[i].over ? "over inputs" : "apart", settings[i].threads, k,
                     damage ? damage : "no damage");
        if (!damage && k < 0) continue;
        free_all(truth, p->n_out);
        return false;
    }
    free_all(truth, p->n_out);
    return true;
}

/* ---- a device against the CPU ------------------------------------------------------------- */

/* Ops whose last bits are the device's own: the order in which they add, or polynomials, of f32,
 * that round otherwise without fma. */
static bool is_free(const ebm_node *node)
{
    switch (node->op) {
    case EBM_OP_sum:
    case EBM_OP_cumsum:
    case EBM_OP_scatter_add:
    case EBM_OP_window_put: return true;
    case EBM_OP_exp:
    case EBM_OP_expm1:
    case EBM_OP_log:
    case EBM_OP_log1p:
    case EBM_OP_sin:
    case EBM_OP_cos:
    case EBM_OP_tanh:
    case EBM_OP_sigmoid:
    case EBM_OP_softplus:
    case EBM_OP_erf: return node->dtype == EBM_F32;
    default: break;
    }
    ebm_op_family family = ebm_op_get(node->op)->family;
    return family == EBM_FAMILY_MATMUL || family == EBM_FAMILY_CONV ||
           family == EBM_FAMILY_LINALG;
}

/* By ref, whether cuda-host, which has the CPU's functions of math.h, gives the bits of the CPU; the
 * number of those. */
static int64_t find_exact(const ebm_graph *g, bool *exact)
{
    int64_t n = 0;
    for (ebm_ref ref = 1; ref < ebm_graph_count(g); ref++) {
        ebm_node node = ebm_graph_node(g, ref);
        exact[ref] = !is_free(&node);
        if (node.op == EBM_OP_repeat) {
            const ebm_graph *body = ebm_repeat_body(g, ref).graph;
            bool *inside = ebm__alloc((size_t)ebm_graph_count(body), sizeof *inside);
            CHECK(inside != NULL);
            exact[ref] = find_exact(body, inside) == ebm_graph_count(body) - 1;
            ebm__free(inside);
        }
        for (int32_t i = 0; i < node.n_in; i++) exact[ref] &= exact[node.in[i]];
        n += exact[ref];
    }
    return n;
}

static int64_t exact_outputs;

/* Outputs that are the CPU's to the bit; -1, or the first that is not. */
static int32_t find_difference_from_here(const random_program *p)
{
    void *there[MAX_PORTS], *here[MAX_PORTS];
    bool *exact = ebm__alloc((size_t)ebm_graph_count(p->g), sizeof *exact);
    CHECK(exact != NULL);
    find_exact(p->g, exact);
    run_program(p, &(setting){.threads = 1}, there);
    run_program(p, &(setting){.threads = 1, .here = true}, here);
    int32_t found = -1;
    for (int32_t k = 0; k < p->n_out; k++) {
        ebm_shape shape = ebm_ref_shape(p->g, p->out[k]);
        ebm_dtype dtype = ebm_ref_dtype(p->g, p->out[k]);
        if (!exact[p->out[k]]) continue;
        exact_outputs++;
        if (!same_numbers(dtype, there[k], here[k], ebm_shape_size(&shape))) found = k;
    }
    free_all(there, p->n_out);
    free_all(here, p->n_out);
    ebm__free(exact);
    return found;
}

/* ---- finding a failure's cause ----------------------------------------------------------- */

typedef bool check(const random_options *options, random_program *p, char *why, size_t size);

static bool passes(check *holds, const random_options *options, char *why, size_t size)
{
    random_program p;
    random_program_make(&p, options);
    bool good = holds(options, &p, why, size);
    random_program_free(&p);
    return good;
}

/* Shortens a program that fails, and prints it. */
static void report(check *holds, random_options options, char *why, size_t size)
{
    options.steps = 0;
    while (options.steps < ALL_STEPS && passes(holds, &options, why, size)) options.steps++;
    random_program p;
    char *text = NULL;
    random_program_make(&p, &options);
    if (ebm_graph_print(&text, p.g, p.out, p.n_out) == EBM_OK) printf("%s", text);
    test_fail(__FILE__, __LINE__, "seed %llu, %d steps: %s", (unsigned long long)options.seed,
              options.steps, why);
}

static uint64_t seed_now;

static void tell_seed(void)
{
    char text[64];
    int n = snprintf(text, sizeof text, "in seed %llu\n", (unsigned long long)seed_now);
    if (write(STDOUT_FILENO, text, (size_t)n) < n) return;
}

/* Called by UndefinedBehaviorSanitizer at a report. */
void __ubsan_on_report(void);
__attribute__((visibility("default"))) void __ubsan_on_report(void)
{
    tell_seed();
}

static void tell_seed_of_signal(int number)
{
    tell_seed();
    signal(number, SIG_DFL);
    raise(number);
}

/* Calls `holds` for n seeds (PLAN_FUZZ: another number). */
static int64_t for_seeds(check *holds, int64_t n, random_options options)
{
    const char *more = getenv("PLAN_FUZZ"), *from = getenv("PLAN_FUZZ_FROM");
    if (!tested()->host_memory) n = ON_DEVICE;
    int64_t first = from ? atoll(from) : 0, count = more ? atoll(more) : n;
    char why[512] = "";
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(tell_seed);
#else
    signal(SIGSEGV, tell_seed_of_signal);
#endif
    signal(SIGALRM, tell_seed_of_signal);
    if (more) alarm(0); /* as long as it takes */
    for (int64_t k = 0; k < count; k++) {
        options.seed = seed_now = (uint64_t)(first + k);
        options.steps = ALL_STEPS;
        if (!passes(holds, &options, why, sizeof why)) report(holds, options, why, sizeof why);
        if (more && (k + 1) % 10000 == 0) printf("%lld\n", (long long)(k + 1)), fflush(stdout);
    }
    CHECK_OK(ebm_cpu_set_isa(NULL));
    return count;
}

/* ---- tests ------------------------------------------------------------------------------- */

static int64_t programs_of_order[4];

static bool planned_is_node_by_node(const random_options *options, random_program *p, char *why,
                                    size_t size)
{
    programs_of_order[p->order]++;
    use_isa(options->seed);
    if (!runs_agree(p, options->seed, why, size)) return false;
    int32_t k = tested()->host_memory ? -1 : find_difference_from_here(p);
    if (k >= 0) snprintf(why, size, "output %d is not the CPU's", k);
    return k < 0;
}

/* Ops that are views of their operand, or itself, and never a kernel. */
static bool is_never_run(ebm_op op)
{
    return op == EBM_OP_reshape || op == EBM_OP_mark || op == EBM_OP_stop || op == EBM_OP_graft;
}

/* Each op that has a kernel ran, with both float types if it takes any. */
static void check_coverage(void)
{
    for (int op = 0; op < EBM_OP_COUNT; op++) {
        const ebm_op_info *info = ebm_op_get((ebm_op)op);
        int64_t f32 = guard_count((ebm_op)op, EBM_F32), f64 = guard_count((ebm_op)op, EBM_F64);
        int64_t others = 0;
        for (int dtype = EBM_I32; dtype < EBM_DTYPE_COUNT; dtype++)
            others += guard_count((ebm_op)op, (ebm_dtype)dtype);
        if (info->family == EBM_FAMILY_STRUCTURE || is_never_run((ebm_op)op)) continue;
        if (f32 + f64 + others == 0 || (f32 == 0) != (f64 == 0))
            test_fail(__FILE__, __LINE__,
                      "%s: ran %lld times on f32, %lld on f64, %lld on others: "
                      "give it a maker in random_graph.c",
                      info->name, (long long)f32, (long long)f64, (long long)others);
    }
    for (int order = 0; order < 4; order++) CHECK(programs_of_order[order] > 0);
}

TEST(plan_random_graphs)
{
    int64_t n = for_seeds(planned_is_node_by_node, GRAPHS, (random_options){.tame = false});
    if (n >= GRAPHS) check_coverage();
    if (!tested()->host_memory) CHECK(exact_outputs > n);
}

/* Loops whose kernels had their home where that of a twin's item would have been. */
TEST(plan_random_graphs_that_failed)
{
    static const uint64_t seeds[] = {50042, 50255};
    char why[512] = "";
    for (size_t k = 0; k < sizeof seeds / sizeof *seeds; k++) {
        random_options options = {.seed = seeds[k], .steps = ALL_STEPS};
        if (!passes(planned_is_node_by_node, &options, why, sizeof why))
            report(planned_is_node_by_node, options, why, sizeof why);
    }
}

/* ---- derivatives of programs ------------------------------------------------------------- */

typedef struct probe { /* directions u of the outputs, v of the inputs, as inputs of the graph */
    random_program *p;
    ebm_ref y[MAX_PORTS], u[MAX_PORTS], x[MAX_PORTS], v[MAX_PORTS];
    int32_t n_y, n_x;
} probe;

static ebm_ref add_direction(random_program *p, uint64_t *seed, ebm_ref like)
{
    char name[16];
    ebm_shape shape = ebm_ref_shape(p->g, like);
    snprintf(name, sizeof name, "d%d", p->n_in);
    p->in[p->n_in++] = random_data(seed, EBM_F64, &shape);
    return ebm_graph_input(p->g, name, EBM_F64, &shape);
}

static probe make_probe(random_program *p, uint64_t seed)
{
    probe r = {.p = p};
    int32_t n_in = p->n_in;
    for (int32_t k = 0; k < p->n_out; k++)
        if (ebm_dtype_is_float(ebm_ref_dtype(p->g, p->out[k]))) r.y[r.n_y++] = p->out[k];
    for (int32_t k = 0; k < n_in; k++) {
        ebm_ref x = ebm_graph_input_ref(p->g, k);
        if (ebm_dtype_is_float(ebm_ref_dtype(p->g, x))) r.x[r.n_x++] = x;
    }
    for (int32_t k = 0; k < r.n_y; k++) r.u[k] = add_direction(p, &seed, r.y[k]);
    for (int32_t k = 0; k < r.n_x; k++) r.v[k] = add_direction(p, &seed, r.x[k]);
    return r;
}

/* The sum of all a[k] * b[k], or of their sizes. */
static ebm_ref inner(ebm_graph *g, const ebm_ref *a, const ebm_ref *b, int32_t n, bool sizes)
{
    ebm_ref total = ebm_scalar(g, EBM_F64, 0);
    for (int32_t k = 0; k < n; k++) {
        ebm_ref part = ebm_mul(g, a[k], b[k]);
        total = ebm_add(g, total, ebm_sum_all(g, sizes ? ebm_abs(g, part) : part));
    }
    return total;
}

static void evaluate_on(const random_program *p, const ebm_ref *ref, int32_t n, bool here,
                        double *value)
{
    void *got[MAX_PORTS];
    random_program asked = *p;
    asked.n_out = n;
    memcpy(asked.out, ref, (size_t)n * sizeof *ref);
    const char *damage = run_program(&asked,
                                     &(setting){.fuse = true, .threads = 1, .here = here}, got);
    if (damage) test_fail(__FILE__, __LINE__, "%s", damage);
    for (int32_t k = 0; k < n; k++) value[k] = *(double *)got[k];
    free_all(got, n);
}

static void evaluate(const random_program *p, const ebm_ref *ref, int32_t n, double *value)
{
    evaluate_on(p, ref, n, false, value);
}

/* Sums of n signed and of n unsigned terms, as the CPU finds them: but for the order of sums. */
static bool is_the_cpus(const random_program *p, const ebm_ref *ref, int32_t n,
                        const double *value)
{
    double here[4], terms = 1e-12;
    if (tested()->host_memory) return true;
    evaluate_on(p, ref, n, true, here);
    for (int32_t k = 0; k < n; k++) terms += fabs(value[k]);
    for (int32_t k = 0; k < n; k++)
        if (!(fabs(here[k] - value[k]) <= 1e-13 * terms)) return false;
    return true;
}

static struct {
    int64_t all, finite, active, apart; /* apart: not the CPU's, who stood before a kink */
} seen;

/* <u, J v> = <J' u, v>, the programs having derivatives inside. */
static bool is_adjoint(const random_options *options, random_program *p, char *why, size_t size)
{
    ebm_ref jv[MAX_PORTS], ju[MAX_PORTS];
    double value[4];
    probe r = make_probe(p, options->seed);
    use_isa(options->seed);
    ebm_jvp(p->g, r.y, r.n_y, r.x, r.v, r.n_x, jv);
    ebm_vjp(p->g, r.y, r.u, r.n_y, r.x, r.n_x, ju);
    ebm_ref out[] = {inner(p->g, r.u, jv, r.n_y, false), inner(p->g, ju, r.v, r.n_x, false),
                     inner(p->g, r.u, jv, r.n_y, true), inner(p->g, ju, r.v, r.n_x, true)};
    evaluate(p, out, 4, value);
    bool finite = isfinite(value[0]) && isfinite(value[1]);
    seen.all++;
    seen.finite += finite;
    seen.active += finite && value[2] > 0;
    if (finite && !is_the_cpus(p, out, 4, value)) seen.apart++;
    if (!finite || fabs(value[0] - value[1]) <= 1e-9 * (value[2] + value[3]) + 1e-12)
        return true;
    snprintf(why, size, "<u, Jv> = %.17g, <J'u, v> = %.17g, of terms of %g and %g", value[0],
             value[1], value[2], value[3]);
    return false;
}

TEST(plan_random_adjoints)
{
    seen.all = seen.finite = seen.active = seen.apart = 0;
    for_seeds(is_adjoint, DERIVATIVES, (random_options){.tame = true});
    CHECK(seen.finite > 0.9 * (double)seen.all && seen.active > 0.3 * (double)seen.all);
    CHECK(seen.apart <= 0.01 * (double)seen.all);
}

/* Moves the inputs by t v. */
static void move(const probe *r, double t)
{
    ebm_graph *g = r->p->g;
    for (int32_t k = 0; k < r->n_x; k++) {
        ebm_shape shape = ebm_ref_shape(g, r->x[k]);
        double *x = NULL, *v = NULL;
        for (int32_t i = 0; i < r->p->n_in; i++) {
            if (ebm_graph_input_ref(g, i) == r->x[k]) x = r->p->in[i];
            if (ebm_graph_input_ref(g, i) == r->v[k]) v = r->p->in[i];
        }
        for (int64_t i = 0; i < ebm_shape_size(&shape); i++) x[i] += t * v[i];
    }
}

/* d/dt of `value` along v by the five-point rule; *scale: the largest value seen. */
static double difference(const probe *r, ebm_ref value, double h, double *scale)
{
    static const double at[] = {-2, -1, 1, 2}, weight[] = {1, -8, 8, -1};
    double sum = 0, y;
    for (int k = 0; k < 4; k++) {
        move(r, at[k] * h);
        evaluate(r->p, &value, 1, &y);
        move(r, -at[k] * h);
        sum += weight[k] * y;
        *scale = fmax(*scale, fabs(y));
    }
    return sum / (12 * h);
}

/* <u, J v> against differences, where these converge: the step of half the size tells. */
static bool is_derivative(const random_options *options, random_program *p, char *why, size_t size)
{
    ebm_ref jv[MAX_PORTS];
    double got[2], scale = 1;
    probe r = make_probe(p, options->seed);
    use_isa(options->seed);
    ebm_jvp(p->g, r.y, r.n_y, r.x, r.v, r.n_x, jv);
    ebm_ref value = inner(p->g, r.u, r.y, r.n_y, false);
    ebm_ref out[] = {inner(p->g, r.u, jv, r.n_y, false), inner(p->g, r.u, jv, r.n_y, true)};
    evaluate(p, out, 2, got);
    bool apart = isfinite(got[0]) && !is_the_cpus(p, out, 2, got);
    double coarse = difference(&r, value, 2e-3, &scale),
           fine = difference(&r, value, 1e-3, &scale);
    bool finite = isfinite(got[0]) && fabs(coarse - fine) <= 1e-4 * fabs(fine) + 1e-9 * scale;
    bool close = !finite || fabs(got[0] - fine) <= fabs(coarse - fine) + 1e-9 * scale;
    seen.all++;
    seen.finite += finite;
    seen.active += finite && got[0] != 0;
    if (close && !apart) return true;
    snprintf(why, size, "Jv = %.12g, by differences %.12g and %.12g%s", got[0], coarse, fine,
             apart ? ", and not the CPU's" : "");
    return false;
}

TEST(plan_random_differences)
{
    seen.all = seen.finite = seen.active = 0;
    for_seeds(is_derivative, DERIVATIVES, (random_options){.tame = true, .smooth = true});
    CHECK(seen.finite > 0.9 * (double)seen.all && seen.active > 0.3 * (double)seen.all);
}

/* ---- another instruction set between compiling and running ------------------------------ */

static const char *const isas[] = {"baseline", "avx2", "avx512"};

/* A sum over many rows, whose parts (scratch) hang on the width of vectors. */
static void make_products(random_program *p, int64_t columns)
{
    *p = (random_program){.g = new_graph(), .n_in = 2, .n_out = 1, .alias = {-1}};
    ebm_shape tall = EBM_DIMS(5000, 8), wide = EBM_DIMS(5000, columns);
    uint64_t seed = (uint64_t)columns;
    ebm_ref x = ebm_graph_input(p->g, "x", EBM_F32, &tall);
    ebm_ref y = ebm_graph_input(p->g, "y", EBM_F32, &wide);
    p->out[0] = ebm_matmul_ex(p->g, x, y, true, false);
    p->in[0] = random_data(&seed, EBM_F32, &tall);
    p->in[1] = random_data(&seed, EBM_F32, &wide);
}

TEST(plan_runs_on_another_isa_than_it_was_made_on)
{
    for (int64_t n = 8; n < 300; n += 249)
        for (int from = 0; from < 3; from++)
            for (int to = 0; to < 3; to++) {
                random_program p;
                void *out[1];
                if (ebm_cpu_set_isa(isas[to]) != EBM_OK || ebm_cpu_set_isa(isas[from]) != EBM_OK)
                    continue;
                make_products(&p, n);
                run_isa = isas[to];
                const char *damage = run_program(
                    &p, &(setting){.fuse = true, .guarded = true, .threads = 1}, out);
                if (damage)
                    test_fail(__FILE__, __LINE__, "n = %lld, made on %s, run on %s: %s",
                              (long long)n, isas[from], isas[to], damage);
                free_all(out, 1);
                random_program_free(&p);
            }
    run_isa = NULL;
    CHECK_OK(ebm_cpu_set_isa(NULL));
}

/* ---- the guard itself -------------------------------------------------------------------- */

static int64_t slip; /* the byte that the bad kernel writes, from the first of its output */

#if defined(__GNUC__)
__attribute__((no_sanitize("address")))
#endif
static ebm_status slipping_kernel(const ebm_device *device, const ebm_kernel_args *args)
{
    ebm_status status = device->run(device, args);
    if (status == EBM_OK) status = device->sync(device);
    volatile char *out = args->out[0].data;
    out[slip] = (char)(out[slip] + 1);
    return status;
}

/* One byte before or behind an output, or an array in the arena, is found; one inside is not. */
TEST(guard_finds_one_byte)
{
    static const struct {
        int64_t slip;
        bool found;
    } cases[] = {{-1, true}, {12, true}, {0, false}, {11, false}};
    ebm_graph *g = new_graph();
    ebm_shape two = EBM_DIMS(2);
    random_program p = {.g = g, .n_in = 2, .n_out = 1, .alias = {-1}};
    ebm_ref x = input_f32(g, "x", EBM_DIMS(3)), i = ebm_graph_input(g, "i", EBM_I32, &two);
    ebm_ref inside = ebm_cumsum(g, ebm_cumsum(g, x, 0, false), 0, false);
    ebm_ref outs[] = {ebm_cumsum(g, x, 0, false),
                      ebm_add(g, ebm_take(g, inside, i, 0), ebm_take(g, inside, i, 0))};
    int32_t index[2] = {0, 1};
    float data[3] = {1, 2, 3};
    p.in[0] = data;
    p.in[1] = index;
    guard_replace_kernels(slipping_kernel);
    for (size_t k = 0; k < 2 * sizeof cases / sizeof *cases; k++) {
        void *out[1];
        slip = cases[k / 2].slip;
        p.out[0] = outs[k % 2];
        bool found = run_program(&p, &(setting){.fuse = true, .guarded = true, .threads = 1},
                                 out) != NULL;
        CHECK(found == cases[k / 2].found || k % 2 == 1);
        if (cases[k / 2].found) CHECK(found);
        free_all(out, 1);
    }
    guard_replace_kernels(NULL);
    ebm_graph_free(g);
}
