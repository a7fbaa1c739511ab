/*
 * /init that starts another kernel: /kexec/kernel with /kexec/initrd and the command line in /kexec/cmdline, by
 * kexec_file_load(2). If the running kernel refuses, it says `KEXEC-FAILED ` and the error number, and powers off.
 */
#include "syscall.h"

#define REBOOT_MAGIC1 0xfee1deadUL
#define REBOOT_MAGIC2 672274793
#define REBOOT_KEXEC 0x45584543
#define REBOOT_POWER_OFF 0x4321fedc

static char cmdline[2048];

static void complain(long error)
{
	static char message[] = "KEXEC-FAILED 000\n";

	for (char *digit = message + sizeof message - 3; error; digit--, error /= 10)
		*digit = '0' + error % 10;
	syscall3(NR_write, 1, (long)message, sizeof message - 1);
}

void _start(void)
{
	long kernel = syscall3(NR_open, (long)"/kexec/kernel", 0, 0);
	long initrd = syscall3(NR_open, (long)"/kexec/initrd", 0, 0);
	long file = syscall3(NR_open, (long)"/kexec/cmdline", 0, 0);
	long length = syscall3(NR_read, file, (long)cmdline, sizeof cmdline - 1);
	/* the length counts the NUL that ends the command line */
	long result = syscall5(NR_kexec_file_load, kernel, initrd, length + 1, (long)cmdline, 0);

	if (!result)
		result = syscall3(NR_reboot, REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_KEXEC);
	complain(-result);
	syscall3(NR_reboot, REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_POWER_OFF);
	for (;;)
		syscall3(NR_pause, 0, 0, 0);
}
