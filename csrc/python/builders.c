/* builders.c - _core.ops: every builder of ops/ops.h as a function, by one table.
 *
 * The arguments are checked and converted by the signature, the builder is called, and the
 * graph is asked for an error; the result is a Node.  Nodes of ancestors are lifted on the
 * way. */
#include "ops/ops.h"

#include "base/alloc.h"
#include "python/convert.h"
#include "python/error.h"
#include "python/graph.h"

enum { MAX_ARGUMENTS = 6 };

typedef union argument {
    ebm_ref ref;
    struct {
        ebm_ref *ref;
        int32_t n;
    } list; /* owned */
    double real;
    int64_t integer;
    bool flag;
    ebm_dtype dtype;
    ebm_shape shape;
    int64_t words[EBM_MAX_RANK];
    ebm_conv_geometry geometry;
    ebm_window window;
} argument;

#define REF(k) a[k].ref
#define REFS(k) a[k].list.ref
#define COUNT(k) a[k].list.n
#define REAL(k) a[k].real
#define INT(k) (int32_t)a[k].integer
#define FLAG(k) a[k].flag
#define DTYPE(k) a[k].dtype
#define SHAPE(k) &a[k].shape
#define MASK(k) a[k].integer
#define WORDS(k) a[k].words
#define GEOMETRY(k) &a[k].geometry
#define WINDOW(k) &a[k].window

/* ---- arguments --------------------------------------------------------------------------- */

typedef struct call {
    ebm_py_state *state;
    ebm_py_graph *graph;
    const char *name;
    argument *args;
} call;

static int parse_words(const call *c, PyObject *object, int64_t *out, int32_t n)
{
    int64_t words[16];
    int got = ebm__py_words(object, words, 16, c->name);
    if (got < 0) return -1;
    if (got != n) {
        PyErr_Format(PyExc_ValueError, "%s: %d numbers are expected, got %d", c->name, (int)n,
                     got);
        return -1;
    }
    for (int32_t i = 0; i < n; i++) out[i] = words[i];
    return 0;
}

/* Axes of the first node as a bit mask. */
static int parse_mask(const call *c, PyObject *object, int64_t *out)
{
    *out = EBM_ALL_AXES;
    if (object == Py_None) return 0;
    int64_t axis[EBM_MAX_RANK];
    int n = 1, rank = ebm_ref_shape(c->graph->graph, c->args[0].ref).rank;
    if (PyIndex_Check(object))
        axis[0] = PyNumber_AsSsize_t(object, PyExc_IndexError);
    else
        n = ebm__py_words(object, axis, EBM_MAX_RANK, c->name);
    if (n < 0 || PyErr_Occurred()) return -1;
    int64_t mask = 0;
    for (int i = 0; i < n; i++) {
        if (axis[i] < -rank || axis[i] >= rank) {
            PyErr_Format(PyExc_IndexError, "%s: axis %lld of an array with %d axes", c->name,
                         (long long)axis[i], rank);
            return -1;
        }
        int64_t bit = (int64_t)1 << (axis[i] < 0 ? axis[i] + rank : axis[i]);
        if (mask & bit) {
            PyErr_Format(PyExc_ValueError, "%s: axis %lld twice", c->name, (long long)axis[i]);
            return -1;
        }
        mask |= bit;
    }
    *out = mask;
    return 0;
}

static int parse_int(PyObject *object, int64_t *out)
{
    PyObject *number = PyNumber_Index(object);
    if (!number) return -1;
    int overflow = 0;
    *out = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow || *out < INT32_MIN || *out > INT32_MAX) {
        PyErr_Format(PyExc_ValueError, "%S does not fit into int32", object);
        return -1;
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int parse(const call *c, char letter, PyObject *object, argument *out)
{
    ebm_conv_geometry *g = &out->geometry;
    int64_t words[9];
    switch (letter) {
    case 'o':
        if (object == Py_None) {
            out->ref = EBM_NONE;
            return 0;
        }
        /* fall through */
    case 'r':
        out->ref = ebm__py_ref(c->state, object, c->graph);
        return out->ref == EBM_POISON ? -1 : 0;
    case 'R':
        out->list.n = ebm__py_refs(c->state, object, c->graph, &out->list.ref);
        return out->list.n < 0 ? -1 : 0;
    case 'd':
        out->real = PyFloat_AsDouble(object);
        return out->real == -1.0 && PyErr_Occurred() ? -1 : 0;
    case 'i': return parse_int(object, &out->integer);
    case 'b': {
        int flag = PyObject_IsTrue(object);
        out->flag = flag > 0;
        return flag < 0 ? -1 : 0;
    }
    case 't': return ebm__py_dtype(object, &out->dtype);
    case 's': return ebm__py_shape(object, &out->shape, c->name);
    case 'm': return parse_mask(c, object, &out->integer);
    case 'A':
        return parse_words(c, object, out->words,
                           ebm_ref_shape(c->graph->graph, c->args[0].ref).rank);
    case 'g':
        if (parse_words(c, object, words, 9) < 0) return -1;
        *g = (ebm_conv_geometry){words[0], words[1], words[2], words[3], words[4],
                                 words[5], words[6], words[7], words[8]};
        return 0;
    case 'w':
        if (parse_words(c, object, words, 6) < 0) return -1;
        out->window = (ebm_window){words[0], words[1], words[2], words[3], words[4], words[5]};
        return 0;
    default:
        PyErr_Format(PyExc_SystemError, "%s: signature letter '%c'", c->name, letter);
        return -1;
    }
}

/* Parses what the signature asks for, builds, and wraps the result. */
static PyObject *build(PyObject *module, PyObject *const *args, Py_ssize_t n, const char *name,
                       const char *signature, ebm_ref (*run)(ebm_graph *, const argument *))
{
    argument a[MAX_ARGUMENTS];
    call c = {.state = PyModule_GetState(module), .name = name, .args = a};
    Py_ssize_t expected = (Py_ssize_t)strlen(signature);
    if (n != expected + 1) {
        PyErr_Format(PyExc_TypeError, "%s: a graph and %zd arguments are expected, got %zd",
                     name, expected, n);
        return NULL;
    }
    c.graph = ebm__py_graph_get(c.state, args[0]);
    if (!c.graph) return NULL;
    Py_ssize_t done = 0;
    while (done < expected && parse(&c, signature[done], args[done + 1], &a[done]) == 0) done++;
    PyObject *result = NULL;
    if (done == expected) result = ebm__py_node_new(c.graph, run(c.graph->graph, a), false);
    for (Py_ssize_t k = 0; k < done; k++)
        if (signature[k] == 'R') ebm__free(a[k].list.ref);
    return result;
}

/* ---- the table --------------------------------------------------------------------------- */

#define B(id, signature, expression)                                                   \
    static ebm_ref run_##id(ebm_graph *g, const argument *a)                           \
    {                                                                                  \
        return expression;                                                             \
    }                                                                                  \
    static PyObject *py_##id(PyObject *module, PyObject *const *args, Py_ssize_t n)    \
    {                                                                                  \
        return build(module, args, n, #id, signature, run_##id);                       \
    }
#include "python/builders.def"

static PyMethodDef builders[] = {
#define B(id, signature, expression) {#id, EBM_PY_METHOD(py_##id), METH_FASTCALL, signature},
#include "python/builders.def"
    {0},
};

int ebm__py_add_builders(PyObject *module)
{
    return ebm__py_add_functions(module, "ops", builders);
}
