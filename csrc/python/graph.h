/* graph.h - graphs and nodes as Python objects.
 *
 * A Graph owns a C graph (a root), or is a body of `repeat` that its parent's graph owns, or is
 * lent one for the length of a call (energy.c).  A Node is a graph and a ref; it keeps the
 * graph alive. Nodes have no cycles, so they need no garbage collector: a trace makes
 * thousands. */
#ifndef EBM_PYTHON_GRAPH_H
#define EBM_PYTHON_GRAPH_H

#include "graph/graph.h"
#include "python/module.h"

typedef struct ebm_py_graph {
    PyObject_HEAD ebm_graph *graph; /* NULL once detached */
    struct ebm_py_graph *parent;    /* strong; NULL for a root */
    bool owned;                     /* free `graph` with this object */
} ebm_py_graph;

typedef struct ebm_py_node {
    PyObject_HEAD ebm_py_graph *graph; /* strong */
    ebm_ref ref;
    bool weak; /* came from a Python number: takes the dtype of what it meets */
} ebm_py_node;

/* A Graph over a C graph that somebody else owns; detach it when that one's call ends: its
 * nodes then raise StateError. */
PyObject *ebm__py_graph_lend(PyObject *self, ebm_graph *graph);
void ebm__py_graph_detach(PyObject *graph);

/* Its C graph; NULL if it is detached, or a body within one that is. */
ebm_graph *ebm__py_graph_alive(const ebm_py_graph *graph);

/* The object as a Graph that is not detached; NULL with TypeError or StateError. */
BORROWED ebm_py_graph *ebm__py_graph_get(ebm_py_state *state, PyObject *object);

/* A node of `graph`, of the registered subclass; for EBM_POISON NULL with the graph's error. */
PyObject *ebm__py_node_new(ebm_py_graph *graph, ebm_ref ref, bool weak);

/* The object's ref in `graph`: its own, or lifted from an ancestor.  EBM_POISON with TypeError
 * (not a node) or StateError (of a graph that is not an ancestor: it escaped its trace). */
ebm_ref ebm__py_ref(ebm_py_state *state, PyObject *object, ebm_py_graph *graph);

/* A sequence of nodes as refs in `graph`, in a new block (ebm__free); their number, or -1. */
int32_t ebm__py_refs(ebm_py_state *state, PyObject *sequence, ebm_py_graph *graph, ebm_ref **out);

#endif
