/* plan.c - the type Plan: a compiled graph that is called with arrays.
 *
 * Workload: thousands of calls a second from a few threads.  A call converts its arguments,
 * runs without the GIL in a workspace of its own, and gives fresh arrays, or arguments that it
 * has overwritten.  Workspaces are kept in a pool, one for each call that ever ran at the same
 * time.  On a device whose memory the host cannot reach, a workspace has arrays for arguments and
 * results there, always at the same addresses, so that a run can be recorded. */
#include "plan/plan.h"

#include "base/alloc.h"
#include "python/array.h"
#include "python/convert.h"
#include "python/error.h"
#include "python/graph.h"
#include "python/poll.h"

/* What one call needs, made once and used again. */
typedef struct call_space {
    struct call_space *next;
    ebm_workspace *workspace;
    void **in, **out;   /* pointers for ebm_plan_run */
    PyObject **arrays;  /* the arguments as converted: strong during a call */
    ebm_tensor **there; /* arguments, then results, on the device; NULL: the host's will do */
    int32_t n_there;
} call_space;

typedef struct ebm_py_plan {
    PyObject_HEAD ebm_plan *plan;
    int32_t n_args; /* graph inputs that are not captured */
    int32_t *input; /* the graph input of each argument; owned */
    bool keep;      /* results stay on the device */
    int32_t *taken; /* for each output the argument that it overwrites, or -1; owned; or NULL */
    call_space *idle; /* the pool; owned */
} ebm_py_plan;

static void space_free(call_space *space)
{
    if (!space) return;
    ebm_workspace_free(space->workspace);
    for (int32_t k = 0; space->there && k < space->n_there; k++)
        ebm_tensor_release(space->there[k]);
    ebm__free(space->there);
    ebm__free(space->in);
    ebm__free(space->out);
    ebm__free(space->arrays);
    ebm__free(space);
}

/* Arrays on the device for all arguments, and for results that overwrite none. */
static ebm_status add_arrays(call_space *space, const ebm_py_plan *self)
{
    const ebm_plan *plan = self->plan;
    const ebm_device *device = ebm_plan_device(plan);
    space->n_there = self->n_args + ebm_plan_n_outputs(plan);
    space->there = ebm__alloc((size_t)space->n_there, sizeof(ebm_tensor *));
    if (!space->there) return EBM_NOMEM;
    for (int32_t k = 0; k < space->n_there; k++) {
        int32_t out = k - self->n_args, in = out < 0 ? self->input[k] : -1;
        if (out >= 0 && self->taken && self->taken[out] >= 0) {
            space->there[k] = ebm_tensor_retain(space->there[self->taken[out]]);
            continue;
        }
        ebm_dtype dtype = in < 0 ? ebm_plan_output_dtype(plan, out)
                                 : ebm_plan_input_dtype(plan, in);
        ebm_shape shape = in < 0 ? ebm_plan_output_shape(plan, out)
                                 : ebm_plan_input_shape(plan, in);
        EBM_TRY(ebm_tensor_new(&space->there[k], device, dtype, &shape));
    }
    return EBM_OK;
}

static ebm_status space_new(call_space **out, ebm_py_plan *self)
{
    call_space *space = ebm__alloc(1, sizeof *space);
    if (!space) return EBM_NOMEM;
    space->in = ebm__alloc((size_t)ebm_plan_n_inputs(self->plan), sizeof *space->in);
    space->out = ebm__alloc((size_t)ebm_plan_n_outputs(self->plan), sizeof *space->out);
    space->arrays = ebm__alloc((size_t)self->n_args, sizeof *space->arrays);
    ebm_status status = EBM_NOMEM;
    if (space->in && space->out && space->arrays)
        status = ebm_workspace_new(&space->workspace, self->plan);
    if (status == EBM_OK && !ebm_plan_device(self->plan)->host_memory)
        status = add_arrays(space, self);
    if (status != EBM_OK)
        space_free(space);
    else
        *out = space;
    return status;
}

/* ---- life -------------------------------------------------------------------------------- */

static void plan_dealloc(PyObject *object)
{
    ebm_py_plan *self = (ebm_py_plan *)object;
    while (self->idle) {
        call_space *space = self->idle;
        self->idle = space->next;
        space_free(space);
    }
    ebm_plan_release(self->plan);
    ebm__free(self->input);
    ebm__free(self->taken);
    ebm__py_free(object);
}

/* Which inputs of the graph a caller gives. */
static int find_arguments(ebm_py_plan *self, const ebm_graph *graph)
{
    int32_t n = ebm_graph_n_inputs(graph);
    self->input = ebm__alloc((size_t)n, sizeof *self->input);
    if (!self->input) {
        PyErr_NoMemory();
        return -1;
    }
    for (int32_t k = 0; k < n; k++)
        if (!ebm_graph_input_tensor(graph, k)) self->input[self->n_args++] = k;
    return 0;
}

/* self->taken from a sequence of n arguments or -1, and as the inputs of the graph in *alias,
 * which the caller frees. */
static int take_aliases(ebm_py_plan *self, PyObject *sequence, int32_t n, int32_t **alias)
{
    int64_t *words = ebm__alloc((size_t)n, sizeof *words);
    self->taken = ebm__alloc((size_t)n, sizeof *self->taken);
    *alias = ebm__alloc((size_t)n, sizeof **alias);
    if (!words || !self->taken || !*alias) {
        ebm__free(words);
        PyErr_NoMemory();
        return -1;
    }
    int32_t found = ebm__py_words(sequence, words, n, "plan: alias");
    bool fits = found == n;
    for (int32_t k = 0; fits && k < n; k++) {
        fits = words[k] >= -1 && words[k] < self->n_args;
        if (!fits) break;
        self->taken[k] = (int32_t)words[k];
        (*alias)[k] = words[k] < 0 ? -1 : self->input[words[k]];
    }
    ebm__free(words);
    if (fits) return 0;
    if (found >= 0)
        PyErr_SetString(PyExc_ValueError,
                        "plan: alias: expected an argument's number or -1 for each output");
    return -1;
}

static PyObject *plan_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"graph", "outs", "fuse", "alias", "device", "keep", NULL};
    PyObject *graph_object, *outs, *aliases = Py_None, *device = Py_None;
    int fuse = 1, keep = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO|$pOOp:Plan", names, &graph_object,
                                     &outs, &fuse, &aliases, &device, &keep))
        return NULL;
    ebm_py_plan *self = (ebm_py_plan *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    ebm_py_state *state = ebm__py_state((PyObject *)self);
    ebm_py_graph *graph = state ? ebm__py_graph_get(state, graph_object) : NULL;
    ebm_ref *refs = NULL;
    int32_t *alias = NULL;
    int32_t n = graph ? ebm__py_refs(state, outs, graph, &refs) : -1;
    if (n < 0 || find_arguments(self, graph->graph) < 0) goto failed;
    if (aliases != Py_None && take_aliases(self, aliases, n, &alias) < 0) goto failed;
    ebm_plan_options options = {.fuse = fuse, .alias = alias};
    if (ebm__py_device((PyObject *)self, device, &options.device) < 0) goto failed;
    self->keep = keep && !options.device->host_memory;
    EBM_PY_TRY_TO((PyObject *)self, ebm_plan_new(&self->plan, graph->graph, refs, n, &options),
                  failed);
    ebm__free(refs);
    ebm__free(alias);
    return (PyObject *)self;
failed:
    ebm__free(refs);
    ebm__free(alias);
    Py_DECREF(self);
    return NULL;
}

/* ---- a call ------------------------------------------------------------------------------ */

/* An argument that lies on the plan's device already: 1 if it is one, 0 if it is none, -1. */
static int is_there(ebm_py_plan *self, int32_t k, PyObject *object)
{
    PyObject *plan = (PyObject *)self;
    const ebm_device *device = ebm_plan_device(self->plan);
    const ebm_py_array *array = ebm__py_as_array(plan, object);
    if (!array || device->host_memory) return 0;
    ebm_dtype dtype = ebm_plan_input_dtype(self->plan, self->input[k]);
    ebm_shape want = ebm_plan_input_shape(self->plan, self->input[k]);
    ebm_shape got = ebm_shape_of(array->view.rank, array->view.shape);
    ebm_status status = EBM_OK;
    char a[128], b[128];
    if (array->device != device)
        status = ebm_fail(EBM_DEVICE, "argument %d: lies on %s, expected %s", (int)k,
                          array->device->name, device->name);
    else if (array->view.dtype != (int32_t)dtype || !ebm_shape_equal(&got, &want))
        status = ebm_fail(EBM_SHAPE, "argument %d: got %s %s, expected %s %s", (int)k,
                          ebm_dtype_name((ebm_dtype)array->view.dtype),
                          ebm_shape_text(&got, a, sizeof a), ebm_dtype_name(dtype),
                          ebm_shape_text(&want, b, sizeof b));
    if (status == EBM_OK) return 1;
    ebm__py_raise(plan, status);
    return -1;
}

/* Converts the arguments into space->arrays and space->in. */
static int take_arguments(ebm_py_plan *self, call_space *space, PyObject *args)
{
    for (int32_t k = 0; k < self->n_args; k++) {
        char what[32];
        PyOS_snprintf(what, sizeof what, "argument %d", (int)k);
        int there = is_there(self, k, PyTuple_GET_ITEM(args, k));
        if (there < 0) return -1;
        if (there) {
            space->arrays[k] = Py_NewRef(PyTuple_GET_ITEM(args, k));
            continue;
        }
        ebm_shape shape = ebm_plan_input_shape(self->plan, self->input[k]);
        PyArrayObject *array = ebm__py_array((PyObject *)self, PyTuple_GET_ITEM(args, k),
                                             ebm_plan_input_dtype(self->plan, self->input[k]),
                                             &shape, what);
        if (!array) return -1;
        space->arrays[k] = (PyObject *)array;
        space->in[self->input[k]] = PyArray_DATA(array);
    }
    return 0;
}

/* Argument k may be written: nobody else's memory, nor read-only. */
static bool is_free(const ebm_py_plan *self, const call_space *space, int32_t k)
{
    if (!PyArray_Check(space->arrays[k])) return false;
    PyArrayObject *array = (PyArrayObject *)space->arrays[k];
    uintptr_t first = (uintptr_t)PyArray_DATA(array), size = (uintptr_t)PyArray_NBYTES(array);
    bool apart = PyArray_ISWRITEABLE(array);
    for (int32_t i = 0; i < self->n_args && apart; i++) {
        if (!PyArray_Check(space->arrays[i])) continue;
        PyArrayObject *other = (PyArrayObject *)space->arrays[i];
        uintptr_t at = (uintptr_t)PyArray_DATA(other);
        apart = i == k || at >= first + size || first >= at + (uintptr_t)PyArray_NBYTES(other);
    }
    return apart;
}

/* The argument that output k overwrites, with a reference more: a copy if need be. */
static PyObject *take_over(ebm_py_plan *self, call_space *space, int32_t k)
{
    int32_t from = self->taken[k];
    if (!is_free(self, space, from)) {
        PyArrayObject *array = (PyArrayObject *)space->arrays[from];
        PyObject *copy = PyArray_NewCopy(array, NPY_CORDER);
        if (!copy) return NULL;
        Py_SETREF(space->arrays[from], copy);
        space->in[self->input[from]] = PyArray_DATA((PyArrayObject *)copy);
    }
    return Py_NewRef(space->arrays[from]);
}

/* A tuple of fresh arrays and overwritten arguments, their memory in space->out. */
static PyObject *make_results(ebm_py_plan *self, call_space *space)
{
    int32_t n = ebm_plan_n_outputs(self->plan);
    PyObject *results = PyTuple_New(n);
    for (int32_t k = 0; results && !self->keep && k < n; k++) {
        ebm_shape shape = ebm_plan_output_shape(self->plan, k);
        bool over = self->taken && self->taken[k] >= 0 && !space->there;
        PyObject *array = over ? take_over(self, space, k)
                               : ebm__py_empty(ebm_plan_output_dtype(self->plan, k), &shape);
        if (array) {
            PyTuple_SET_ITEM(results, k, array);
            space->out[k] = PyArray_DATA((PyArrayObject *)array);
        } else {
            Py_CLEAR(results);
        }
    }
    return results;
}

/* From the arguments to the device, if that has memory of its own; points at what is there. */
static ebm_status send_arguments(const ebm_py_plan *self, call_space *space)
{
    const ebm_device *device = ebm_plan_device(self->plan);
    for (int32_t k = 0; space->there && k < self->n_args; k++) {
        ebm_tensor *to = space->there[k];
        PyObject *from = space->arrays[k];
        EBM_TRY(PyArray_Check(from)
                    ? device->to_device(device, to->data, PyArray_DATA((PyArrayObject *)from),
                                        ebm_tensor_bytes(to))
                    : ebm__py_array_copy((ebm_py_array *)from, to->data));
        space->in[self->input[k]] = to->data;
    }
    for (int32_t k = self->n_args; space->there && k < space->n_there; k++)
        space->out[k - self->n_args] = space->there[k]->data;
    return EBM_OK;
}

/* From the device into the results; its own failures are seen here. */
static ebm_status fetch_results(const ebm_py_plan *self, call_space *space, PyObject *results)
{
    const ebm_device *device = ebm_plan_device(self->plan);
    if (self->keep) return EBM_OK;
    for (int32_t k = self->n_args; space->there && k < space->n_there; k++) {
        const ebm_tensor *from = space->there[k];
        void *to = PyArray_DATA((PyArrayObject *)PyTuple_GET_ITEM(results, k - self->n_args));
        EBM_TRY(device->fetch(device, to, from->data, ebm_tensor_bytes(from)));
    }
    return device->sync(device);
}

static ebm_status run_there(const ebm_py_plan *self, call_space *space, PyObject *results,
                            const ebm_poll *poll)
{
    EBM_TRY(send_arguments(self, space));
    EBM_TRY(ebm_plan_run(space->workspace, space->in, space->out, poll));
    return fetch_results(self, space, results);
}

/* Results that stay: copies on the device, which nobody waits for. */
static int keep_results(ebm_py_plan *self, call_space *space, PyObject *results)
{
    const ebm_device *device = ebm_plan_device(self->plan);
    for (int32_t k = self->n_args; self->keep && k < space->n_there; k++) {
        const ebm_tensor *from = space->there[k];
        ebm_tensor *copy = NULL;
        ebm_status status = ebm_tensor_new(&copy, device, from->dtype, &from->shape);
        if (status == EBM_OK)
            status = device->copy(device, copy->data, from->data, ebm_tensor_bytes(from));
        if (status != EBM_OK) ebm__py_raise((PyObject *)self, status);
        PyObject *array = status == EBM_OK ? ebm__py_array_new((PyObject *)self, copy) : NULL;
        ebm_tensor_release(copy);
        if (!array) return -1;
        PyTuple_SET_ITEM(results, k - self->n_args, array);
    }
    return 0;
}

/* A run that overwrites arguments is not stopped half way. */
static PyObject *run(ebm_py_plan *self, call_space *space, PyObject *args)
{
    PyObject *results = NULL;
    if (take_arguments(self, space, args) == 0) results = make_results(self, space);
    if (results) {
        ebm_py_run unlocked;
        ebm__py_run_begin(&unlocked, NULL);
        ebm_status status = run_there(self, space, results, self->taken ? NULL : &unlocked.poll);
        ebm__py_run_end(&unlocked);
        if (status != EBM_OK) ebm__py_raise((PyObject *)self, status);
        if (status != EBM_OK || keep_results(self, space, results) < 0) Py_CLEAR(results);
    }
    for (int32_t k = 0; k < self->n_args; k++) Py_CLEAR(space->arrays[k]);
    return results;
}

static PyObject *plan_call(PyObject *object, PyObject *args, PyObject *keywords)
{
    ebm_py_plan *self = (ebm_py_plan *)object;
    if (keywords && PyDict_GET_SIZE(keywords)) {
        PyErr_SetString(PyExc_TypeError, "a plan takes no keyword arguments");
        return NULL;
    }
    if (PyTuple_GET_SIZE(args) != self->n_args) {
        PyErr_Format(PyExc_TypeError, "the plan takes %d arguments, got %zd", (int)self->n_args,
                     PyTuple_GET_SIZE(args));
        return NULL;
    }
    call_space *space = self->idle;
    if (space)
        self->idle = space->next;
    else
        EBM_PY_TRY(object, space_new(&space, self));
    PyObject *results = run(self, space, args);
    space->next = self->idle;
    self->idle = space;
    return results;
}

/* ---- attributes -------------------------------------------------------------------------- */

static PyObject *get_n_kernels(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(ebm_plan_n_kernels(((ebm_py_plan *)self)->plan));
}

static PyObject *get_arena_bytes(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(ebm_plan_arena_bytes(((ebm_py_plan *)self)->plan));
}

static PyGetSetDef attributes[] = {
    {"n_kernels", get_n_kernels, NULL, "Kernels that a run starts.", NULL},
    {"arena_bytes", get_arena_bytes, NULL, "Bytes of a run's workspace.", NULL},
    {0},
};

static PyType_Slot slots[] = {
    EBM_PY_SLOT(Py_tp_new, plan_new),
    EBM_PY_SLOT(Py_tp_dealloc, plan_dealloc),
    EBM_PY_SLOT(Py_tp_call, plan_call),
    {Py_tp_doc,
     "Plan(graph, outs, *, fuse=True, alias=None, device=None, keep=False)\n--\n\n"
     "A compiled graph: called with an array for each input, gives a tuple of arrays.  alias "
     "has for each output the argument that it overwrites, or -1; with keep results stay on "
     "the "
     "device."},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "ebmlib._core.Plan",
    .basicsize = sizeof(ebm_py_plan),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

int ebm__py_add_plan(PyObject *module)
{
    ebm_py_state *state = PyModule_GetState(module);
    return ebm__py_add_type(module, &spec, &state->plan);
}
