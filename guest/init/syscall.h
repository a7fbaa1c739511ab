/*
 * Linux system calls without libc: numbers from asm/unistd_32.h and asm/unistd_64.h, calling conventions from
 * syscall(2). The 32-bit version uses int $0x80, which every x86 kernel has.
 */
#pragma once

#ifdef __x86_64__

enum {
	NR_read = 0, NR_write = 1, NR_open = 2, NR_close = 3, NR_ioctl = 16, NR_pause = 34, NR_mkdir = 83, NR_mknod = 133,
	NR_sync = 162, NR_mount = 165, NR_reboot = 169, NR_getdents64 = 217,
	NR_kexec_file_load = 320,
};

static inline long syscall5(long number, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	__asm__ volatile("syscall"
			 : "+a"(number)
			 : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return number;
}

static inline long syscall3(long number, long a, long b, long c)
{
	__asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return number;
}

#else

enum {
	NR_read = 3, NR_write = 4, NR_open = 5, NR_close = 6, NR_mknod = 14, NR_mount = 21, NR_pause = 29, NR_sync = 36,
	NR_mkdir = 39, NR_ioctl = 54, NR_reboot = 88, NR_getdents64 = 220,
};

static inline long syscall5(long number, long a, long b, long c, long d, long e)
{
	__asm__ volatile("int $0x80" : "+a"(number) : "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
	return number;
}

static inline long syscall3(long number, long a, long b, long c)
{
	__asm__ volatile("int $0x80" : "+a"(number) : "b"(a), "c"(b), "d"(c) : "memory");
	return number;
}

#endif
