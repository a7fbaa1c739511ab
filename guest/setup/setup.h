/* The parts of the real-mode setup; setup_main (main.c) runs them in order. */
#pragma once

#include "boot_params.h"

/* In bss, so everything that nobody fills in is zero. */
extern struct boot_params boot_params;

/* Stops unless the processor can run the kernel; returns the family (3 for a 386), as CPUID counts it. */
unsigned check_processor(void);

void detect_memory(void);
void detect_video(void);

/* Stops if the A20 gate stays closed. */
void enable_a20(void);
