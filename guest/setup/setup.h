/* The parts of the real-mode setup; setup_main (main.c) runs them in order. */
#pragma once

#include "boot_params.h"

/* In bss, so everything that nobody fills in is zero. */
extern struct boot_params boot_params;

/* Stops unless the processor can run the kernel; returns the family (3 for a 386), as CPUID counts it. */
unsigned check_processor(void);

void detect_memory(void);
void detect_video(void);

void detect_disks(void);

/*
 * Copies the value of the last `name=value` on the command line (`name` includes the =), at most size - 1 characters
 * of it. False if there is none, or if the command line lies above 1 MiB, where real mode cannot read.
 */
int command_line_option(const char *name, char *value, unsigned size);

/* 512 bytes for BIOS calls that fill a buffer; contents last until the next such call. */
extern uint8_t sector_buffer[512];

/* Stops if the A20 gate stays closed. */
void enable_a20(void);
