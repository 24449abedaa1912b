/* test_graph.c - merging, clean-up, errors, text form, and derivatives as graphs. */
#include <string.h>

#include "base/alloc.h"
#include "graph/graph.h"
#include "ops/ops.h"
#include "runner.h"

static ebm_ref input(ebm_graph *g, const char *name, ebm_dtype dtype, int64_t rows,
                     int64_t columns)
{
    ebm_shape shape = EBM_DIMS(rows, columns);
    return ebm_graph_input(g, name, dtype, &shape);
}

TEST(graph_merges_equal_nodes)
{
    ebm_graph *g;
    CHECK_OK(ebm_graph_new(&g));
    ebm_ref x = input(g, "x", EBM_F32, 4, 2), y = input(g, "y", EBM_F32, 4, 2);
    CHECK(ebm_add(g, x, y) == ebm_add(g, x, y));
    CHECK(ebm_add(g, x, y) != ebm_add(g, y, x));
    CHECK(ebm_scale(g, x, 2.0) == ebm_scale(g, x, 2.0));
    CHECK(input(g, "x", EBM_F32, 4, 2) == x);
    CHECK(ebm_mark(g, x) != ebm_mark(g, x));
    CHECK_OK(ebm_graph_status(g));
    CHECK_OK(ebm_graph_verify(g));
    ebm_graph_free(g);
}

TEST(graph_cleans_what_is_exact)
{
    ebm_graph *g;
    CHECK_OK(ebm_graph_new(&g));
    ebm_ref x = input(g, "x", EBM_F32, 4, 2);
    CHECK(ebm_scale(g, x, 1.0) == x);
    CHECK(ebm_neg(g, ebm_neg(g, x)) == x);
    CHECK(ebm_scale(g, x, -1.0) == ebm_neg(g, x));
    CHECK(ebm_scale(g, x, 0.0) != ebm_zeros_like(g, x)); /* a NaN in x must show */
    CHECK(ebm_transpose(g, ebm_transpose(g, x)) == x);
    ebm_shape flat = EBM_DIMS(8), back = EBM_DIMS(4, 2);
    CHECK(ebm_reshape(g, ebm_reshape(g, x, &flat), &back) == x);
    CHECK(ebm_flip(g, x, 0) != x);
    CHECK(ebm_slice_axis(g, x, 1, 0, 2) == x);
    double value;
    ebm_ref third = ebm_div(g, ebm_scalar(g, EBM_F32, 1), ebm_scalar(g, EBM_F32, 3));
    CHECK(ebm_is_constant(g, third, &value) && value == (double)(1.0f / 3.0f));
    CHECK(ebm_pow(g, x, ebm_scalar(g, EBM_F32, 2)) == ebm_square(g, x));
    ebm_graph_free(g);
}

TEST(graph_errors_poison_and_keep_the_first_cause)
{
    ebm_graph *g;
    CHECK_OK(ebm_graph_new(&g));
    ebm_ref x = input(g, "x", EBM_F32, 4, 2), y = input(g, "y", EBM_F32, 3, 2);
    ebm_ref i = input(g, "i", EBM_I32, 4, 2);
    ebm_ref bad = ebm_add(g, x, y);
    CHECK(bad == EBM_POISON);
    CHECK(ebm_exp(g, ebm_matmul(g, bad, x)) == EBM_POISON);
    CHECK(ebm_exp(g, i) == EBM_POISON); /* later errors do not hide the first */
    CHECK_STATUS(ebm_graph_status(g), EBM_SHAPE);
    CHECK(strstr(ebm_message(), "(4, 2)") && strstr(ebm_message(), "(3, 2)"));
    ebm_graph_clear(g);
    CHECK(ebm_exp(g, i) == EBM_POISON);
    CHECK_STATUS(ebm_graph_status(g), EBM_DTYPE);
    ebm_graph_clear(g);
    CHECK(ebm_exp(g, x) != EBM_POISON);
    CHECK_OK(ebm_graph_status(g));
    ebm_graph_free(g);
}

/* sum over rows of a small network, through a loop of Langevin-like steps with noise and a trace. */
static ebm_ref build_chain(ebm_graph *g, ebm_ref *w_out)
{
    ebm_shape key_shape = EBM_DIMS(2);
    ebm_ref x = input(g, "x", EBM_F64, 5, 3), w = input(g, "w", EBM_F64, 3, 4);
    ebm_ref key = ebm_graph_input(g, "key", EBM_I32, &key_shape);
    ebm_ref i, xi, last, trace;
    ebm_graph *body = ebm_repeat_open(g, 4, &x, 1, NULL, 0, &i, &xi, NULL);
    if (!body) return EBM_POISON;
    ebm_ref h = ebm_swish(body, ebm_matmul(body, xi, ebm_lift(body, g, w)));
    ebm_ref grad = ebm_grad(body, ebm_sum_all(body, ebm_max(body, h, 2, false)), xi);
    ebm_shape shape = EBM_DIMS(5, 3);
    ebm_ref noise = ebm_normal(body, ebm_fold_in(body, ebm_lift(body, g, key), i), 7, EBM_F64,
                               &shape);
    ebm_ref next = ebm_add(body, ebm_sub(body, xi, ebm_scale(body, grad, 0.1)),
                           ebm_scale(body, noise, 0.1));
    ebm_ref energy = ebm_sum_all(body, h);
    ebm_repeat_close(body, &next, &energy, 1, false, &last, &trace);
    *w_out = w;
    return ebm_add(g, ebm_sum_all(g, ebm_square(g, last)), ebm_sum_all(g, trace));
}

/* One graph with everything: a chain, its gradient, a gradient of that. */
static ebm_status build_all(ebm_graph **out, ebm_ref outs[3])
{
    ebm_graph *g;
    EBM_TRY(ebm_graph_new(&g));
    ebm_ref w = EBM_POISON, t;
    outs[0] = build_chain(g, &w);
    outs[1] = ebm_grad(g, outs[0], w);
    outs[2] = ebm_grad(g, ebm_sum_all(g, ebm_square(g, outs[1])), w);
    ebm_jvp(g, &outs[1], 1, &w, &w, 1, &t);
    outs[2] = ebm_add(g, outs[2], t);
    ebm_status status = ebm_graph_status(g);
    if (status == EBM_OK)
        *out = g;
    else
        ebm_graph_free(g);
    return status;
}

TEST(graph_derivatives_nest_and_verify)
{
    ebm_graph *g;
    ebm_ref outs[3];
    CHECK_OK(build_all(&g, outs));
    CHECK_OK(ebm_graph_verify(g));
    for (int k = 1; k < 3; k++) {
        ebm_shape shape = ebm_ref_shape(g, outs[k]), want = EBM_DIMS(3, 4);
        CHECK(ebm_shape_equal(&shape, &want));
    }
    ebm_graph_free(g);
}

TEST(graph_text_round_trip)
{
    ebm_graph *g, *h;
    ebm_ref outs[3], *back;
    int32_t n;
    char *text, *again;
    CHECK_OK(build_all(&g, outs));
    CHECK_OK(ebm_graph_print(&text, g, outs, 3));
    CHECK_OK(ebm_graph_parse(&h, &back, &n, text));
    CHECK(n == 3);
    CHECK_OK(ebm_graph_verify(h));
    CHECK_OK(ebm_graph_print(&again, h, back, n));
    CHECK(strcmp(text, again) == 0);
    ebm_graph_free(g);
    ebm_graph_free(h);
    ebm__free(back);
    ebm__free(text);
    ebm__free(again);
}

TEST(graph_text_rejects_damage)
{
    ebm_graph *g, *h = NULL;
    ebm_ref outs[3], *back = NULL;
    int32_t n;
    char *text;
    CHECK_OK(build_all(&g, outs));
    CHECK_OK(ebm_graph_print(&text, g, outs, 3));
    size_t size = strlen(text);
    uint64_t seed = 5;
    for (int trial = 0; trial < 2000; trial++) {
        char *damaged = ebm__strdup(text);
        size_t at = test_random(&seed) % size;
        if (trial % 2)
            damaged[at] = 0;
        else
            damaged[at] = (char)(' ' + test_random(&seed) % 95);
        if (ebm_graph_parse(&h, &back, &n, damaged) == EBM_OK) {
            CHECK_OK(ebm_graph_verify(h)); /* what is accepted is a graph */
            ebm_graph_free(h);
            ebm__free(back);
        } else {
            CHECK(strstr(ebm_message(), "line") != NULL);
        }
        ebm__free(damaged);
    }
    ebm__free(text);
    ebm_graph_free(g);
}

TEST(graph_survives_every_failed_allocation)
{
    ebm_graph *g = NULL;
    ebm_ref outs[3];
    ebm_status status = EBM_NOMEM;
    int64_t n = 0, live = ebm__alloc_live();
    for (; status != EBM_OK; n++) {
        ebm__alloc_fail_after(n);
        status = build_all(&g, outs);
        ebm__alloc_fail_after(-1);
        CHECK(status == EBM_OK || status == EBM_NOMEM);
        if (status != EBM_OK) CHECK(ebm__alloc_live() == live);
    }
    CHECK(n > 50);
    if (status == EBM_OK) ebm_graph_free(g);
}

/* x to the power of 2^n, by a loop, times `factor`. */
static ebm_graph *powers(const char *name, int64_t n, double factor, ebm_ref *out)
{
    ebm_graph *g;
    CHECK_OK(ebm_graph_new(&g));
    ebm_ref x = input(g, name, EBM_F64, 3, 2), i, y, last;
    ebm_graph *body = ebm_repeat_open(g, n, &x, 1, NULL, 0, &i, &y, NULL);
    y = ebm_scale(body, ebm_mul(body, y, y), factor);
    ebm_repeat_close(body, &y, NULL, 0, false, &last, NULL);
    *out = last;
    return g;
}

TEST(graph_same)
{
    const struct {
        const char *name;
        int64_t n;
        double factor;
    } other[] = {{"x", 5, 0.5}, {"y", 5, 0.5}, {"x", 6, 0.5}, {"x", 5, 0.25}};
    ebm_ref out, again;
    ebm_graph *g = powers("x", 5, 0.5, &out);
    for (int k = 0; k < 4; k++) {
        ebm_graph *h = powers(other[k].name, other[k].n, other[k].factor, &again);
        CHECK(out == again && ebm_graph_same(g, h) == (k == 0));
        ebm_graph_free(h);
    }
    ebm_exp(g, out);
    ebm_graph *h = powers("x", 5, 0.5, &again);
    CHECK(!ebm_graph_same(g, h));
    ebm_graph_free(h);
    ebm_graph_free(g);
}
