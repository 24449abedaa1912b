/* entropy.c - estimates of a generator's score, by themselves: functions of traced arrays. */
#include "estimators/entropy.h"

#include "base/alloc.h"
#include "ops/ops.h"
#include "python/bound.h"
#include "python/convert.h"
#include "python/error.h"
#include "python/graph.h"
#include "python/options.h"

/* A query while it is put together. */
typedef struct question {
    const ebm_entropy_kind *kind;
    void *options;
    const ebm_bound *bound;
    ebm_py_graph *graph;             /* borrowed */
    ebm_params own;                  /* of the kind's part */
    ebm_ref *refs, *own_refs, *seen; /* seen: of what the part keeps */
    ebm_entropy_query query;
} question;

static void question_fini(question *q)
{
    ebm_params_fini(&q->own);
    ebm__free(q->options);
    ebm__free(q->refs);
    ebm__free(q->own_refs);
    ebm__free(q->seen);
}

/* The arrays of the bound generator, captured. */
static int find_scope(PyObject *self, question *q)
{
    ebm_graph *g = q->graph->graph;
    const ebm_params *params = ebm_bound_params(q->bound);
    q->refs = ebm__alloc((size_t)params->n, sizeof *q->refs);
    if (!q->refs) {
        ebm__py_raise(self, EBM_NOMEM);
        return -1;
    }
    for (int64_t k = 0; k < params->n; k++)
        q->refs[k] = ebm_graph_capture(g, ebm_state_tensor(ebm_bound_state((ebm_bound *)q->bound),
                                                           (int32_t)k));
    q->query.scope = (ebm_scope){.params = (ebm_params *)params, .owner = g, .refs = q->refs};
    return 0;
}

/* The parameters of the kind's part, from a dict of nodes. */
static int find_own(PyObject *self, question *q, PyObject *dict)
{
    ebm_py_state *state = ebm__py_state(self);
    if (!q->kind->list) return 0;
    q->own.dtype = ebm_bound_params(q->bound)->dtype;
    ebm_status status = q->kind->list(q->options, q->query.generator, &q->own);
    if (status == EBM_OK) {
        q->own_refs = ebm__alloc((size_t)q->own.n, sizeof *q->own_refs);
        q->seen = ebm__alloc((size_t)q->own.n, sizeof *q->seen);
        if (!q->own_refs || !q->seen) status = EBM_NOMEM;
    }
    if (status != EBM_OK) {
        ebm__py_raise(self, status);
        return -1;
    }
    for (int64_t k = 0; k < q->own.n; k++) {
        PyObject *node = PyDict_GetItemString(dict, q->own.at[k].name);
        q->seen[k] = EBM_NONE;
        q->own_refs[k] = node ? ebm__py_ref(state, node, q->graph) : EBM_POISON;
        if (!node)
            PyErr_Format(PyExc_ValueError, "%s: own: got no %s", q->kind->options.owner,
                         q->own.at[k].name);
        if (q->own_refs[k] == EBM_POISON) return -1;
    }
    q->query.own = (ebm_scope){.params = &q->own,
                               .owner = q->graph->graph,
                               .refs = q->own_refs,
                               .seen = q->seen};
    return 0;
}

/* x must be rows of the generator, as many as z0 has: what z0 is wrong in, it says itself. */
static int check_rows(PyObject *self, const question *q)
{
    const ebm_graph *g = q->graph->graph;
    ebm_shape expected, got = ebm_ref_shape(g, q->query.x), z0 = ebm_ref_shape(g, q->query.z0);
    ebm_status status = ebm_rows_shape(&expected, z0.rank ? z0.dim[0] : 0,
                                       &q->query.generator->row);
    char had[128], wanted[128];
    if (status == EBM_OK && !ebm_shape_equal(&got, &expected))
        status = ebm_fail(EBM_SHAPE, "entropy: x: got %s, expected %s",
                          ebm_shape_text(&got, had, sizeof had),
                          ebm_shape_text(&expected, wanted, sizeof wanted));
    if (status != EBM_OK) ebm__py_raise(self, status);
    return status == EBM_OK ? 0 : -1;
}

/* (entropy (kind, options), generator, x, z0, key, {name: node} of its part) */
static int find_question(PyObject *self, PyObject *args, question *q)
{
    ebm_py_state *state = ebm__py_state(self);
    PyObject *pair, *generator, *x, *z0, *key, *own, *dict;
    const char *name;
    if (!state || !PyArg_ParseTuple(args, "OO!O!O!O!O!:entropy", &pair, state->bound,
                                    &generator, state->node, &x, state->node, &z0, state->node,
                                    &key, &PyDict_Type, &own))
        return -1;
    if (ebm__py_kind(pair, &name, &dict) < 0) return -1;
    q->kind = ebm_entropy_find(name);
    q->bound = ((ebm_py_bound *)generator)->bound;
    q->query.generator = ebm_bound_generator(q->bound);
    ebm_status status = q->kind ? EBM_OK : EBM_VALUE;
    if (status == EBM_OK && !q->query.generator)
        status = ebm_fail(EBM_VALUE, "%s: generator: got an energy, expected a generator", name);
    if (status == EBM_OK && !q->query.generator->noisy)
        status = ebm_fail(EBM_VALUE,
                          "%s: generator: got %s, which adds no noise: its density "
                          "has no score",
                          name, q->query.generator->name);
    if (status == EBM_OK && !q->kind->score)
        status = ebm_fail(EBM_VALUE, "%s: score: got a bound, which has none", name);
    if (status != EBM_OK) {
        ebm__py_raise(self, status);
        return -1;
    }
    q->options = ebm__py_options_new(self, dict, &q->kind->options);
    q->query.options = q->options;
    q->graph = ((ebm_py_node *)x)->graph;
    if (!q->options || !ebm__py_graph_get(state, (PyObject *)q->graph) ||
        find_scope(self, q) < 0 || find_own(self, q, own) < 0)
        return -1;
    q->query.x = ebm_stop(q->graph->graph, ebm__py_ref(state, x, q->graph));
    q->query.z0 = ebm_stop(q->graph->graph, ebm__py_ref(state, z0, q->graph));
    q->query.key = ebm__py_ref(state, key, q->graph);
    return PyErr_Occurred() ? -1 : check_rows(self, q);
}

/* {name: node} of the part after this estimate: what it keeps has moved on. */
static PyObject *own_after(const question *q)
{
    PyObject *dict = PyDict_New();
    for (int64_t k = 0; dict && k < q->own.n; k++) {
        ebm_ref ref = q->seen[k] == EBM_NONE ? q->own_refs[k] : q->seen[k];
        PyObject *node = ebm__py_node_new(q->graph, ref, false);
        if (!node || PyDict_SetItemString(dict, q->own.at[k].name, node) < 0) Py_CLEAR(dict);
        Py_XDECREF(node);
    }
    return dict;
}

/* entropy_score(...): (score (N, row), report (N,), {name: node} of the part afterwards). */
static PyObject *entropy_score(PyObject *module, PyObject *args)
{
    question q = {0};
    PyObject *score = NULL, *info = NULL, *own = NULL, *result = NULL;
    if (find_question(module, args, &q) == 0) {
        ebm_ref report = EBM_NONE, ref = q.kind->score(&q.query, q.graph->graph, &report);
        score = ebm__py_node_new(q.graph, ref, false);
        if (score) info = ebm__py_node_new(q.graph, report, false);
        if (info) own = own_after(&q);
        if (own) result = Py_BuildValue("OOO", score, info, own);
    }
    question_fini(&q);
    Py_XDECREF(score);
    Py_XDECREF(info);
    Py_XDECREF(own);
    return result;
}

/* entropy_loss(...): what the part of an estimate goes down, (). */
static PyObject *entropy_loss(PyObject *module, PyObject *args)
{
    question q = {0};
    PyObject *result = NULL;
    if (find_question(module, args, &q) == 0) {
        if (q.kind->loss)
            result = ebm__py_node_new(q.graph, q.kind->loss(&q.query, q.graph->graph), false);
        else
            PyErr_Format(PyExc_ValueError, "%s: loss: it has nothing to fit",
                         q.kind->options.owner);
    }
    question_fini(&q);
    return result;
}

static PyMethodDef functions[] = {
    {"entropy_score", entropy_score, METH_VARARGS,
     "entropy_score($module, entropy, generator, x, z0, key, own, /)\n--\n\n"
     "(score, report, own) at traced rows x that came of traced latents z0."},
    {"entropy_loss", entropy_loss, METH_VARARGS,
     "entropy_loss($module, entropy, generator, x, z0, key, own, /)\n--\n\n"
     "What the parameters `own` of an entropy estimate go down."},
    {0},
};

int ebm__py_add_entropy(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
