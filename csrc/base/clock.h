/* clock.h - time for whoever looks up now and then from long work. */
#ifndef EBM_BASE_CLOCK_H
#define EBM_BASE_CLOCK_H

double ebm_clock(void); /* seconds since some moment; never goes back */

#endif
