/* profile.h - where the time of plans goes, kernel by kernel.
 *
 * While a profile is on, every plan run in the process times its kernels: two looks at the clock
 * each, some 50 ns.  While none is, a run asks once.  One profile is on at a time. */
#ifndef EBM_PLAN_PROFILE_H
#define EBM_PLAN_PROFILE_H

#include "plan/plan.h"

typedef struct ebm_profile ebm_profile;

ebm_status ebm_profile_new(ebm_profile **out);
void ebm_profile_free(ebm_profile *profile); /* stops it; NULL is fine */

/* Runs that begin from now on count: STATE if a profile is on already.  Runs under way at a stop
 * are counted to their end. */
ebm_status ebm_profile_start(ebm_profile *profile);
void ebm_profile_stop(ebm_profile *profile);

/* One kernel of one plan.  flops and bytes are of one call: a multiply-add counts two, any other
 * operation on an element one; each element of an operand is moved once. */
typedef struct ebm_profile_row {
    int32_t plan, kernel; /* plans are numbered as they are first seen */
    const char *op;       /* "matmul"; static */
    char text[256];       /* what goes in and out, and the operations of a region */
    int64_t calls;
    double seconds; /* of all calls */
    double flops, bytes;
} ebm_profile_row;

/* The number of rows, and one of them. */
int64_t ebm_profile_count(ebm_profile *profile);
ebm_profile_row ebm_profile_get(ebm_profile *profile, int64_t index);

/* What a call of a kernel costs: flops and bytes as in a row. */
void ebm__kernel_cost(const ebm_plan *plan, int32_t number, double *flops, double *bytes);

/* ---- for run.c ------------------------------------------------------------------------------- */

/* What runs of one plan have taken, by kernel. */
typedef struct ebm__profile_plan ebm__profile_plan;

/* The place of the plan in the profile that is on, in `*out`; NULL if none is on.  A run that
 * entered leaves, and until then the profile stays. */
ebm_status ebm__profile_enter(ebm__profile_plan **out, ebm_plan *plan);
void ebm__profile_add(ebm__profile_plan *at, int32_t kernel, int64_t nanoseconds);
void ebm__profile_leave(ebm__profile_plan *at); /* NULL is fine */

#endif
