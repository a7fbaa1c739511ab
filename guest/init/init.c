/*
 * /init of the demonstration initramfs: tells that user space was reached, then powers the machine off.
 *
 * Prints to the console
 *     INIT-OK <contents of /proc/version>
 *     cmdline <contents of /proc/cmdline>
 *     uptime <contents of /proc/uptime>
 *     INIT-END
 * On the kernel command line, `bzelf.shell` asks for a small command loop instead of powering off, and `bzelf.kmsg` for
 * output to the kernel's log instead, for a kernel whose console does not show (a Xen dom0 without CONFIG_XEN_DOM0).
 *
 * Freestanding: no libc, the system calls below exist since Linux 2.4 on both architectures.
 */
#include "syscall.h"

enum { O_RDWR = 2, O_DIRECTORY = 0200000, S_IFCHR = 0020000, TCSBRK = 0x5409 };
enum { CONSOLE_DEVICE = 5 << 8 | 1, KMSG_DEVICE = 1 << 8 | 11 };

#define REBOOT_MAGIC1 0xfee1deadUL
#define REBOOT_MAGIC2 672274793
#define REBOOT_POWER_OFF 0x4321fedc

static char buffer[4096], options[4096];
static long console = 1;

static unsigned long length(const char *s)
{
	unsigned long n = 0;
	while (s[n])
		n++;
	return n;
}

static int starts_with(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return 0;
	return 1;
}

static int contains(const char *s, const char *needle)
{
	for (; *s; s++)
		if (starts_with(s, needle))
			return 1;
	return 0;
}

static void print(const char *s)
{
	syscall3(NR_write, console, (long)s, length(s));
}

static void complain(const char *name)
{
	print(name);
	print(": cannot open\n");
}

static void print_file(const char *name)
{
	long fd = syscall3(NR_open, (long)name, 0, 0), n;

	if (fd < 0) {
		complain(name);
		return;
	}
	while ((n = syscall3(NR_read, fd, (long)buffer, sizeof buffer)) > 0)
		syscall3(NR_write, console, (long)buffer, n);
	syscall3(NR_close, fd, 0, 0);
}

static void list_directory(const char *name)
{
	/* struct linux_dirent64: d_ino, d_off (8 bytes each), d_reclen (2), d_type (1), d_name */
	enum { D_RECLEN = 16, D_NAME = 19 };
	long fd = syscall3(NR_open, (long)name, O_DIRECTORY, 0), n;

	if (fd < 0) {
		complain(name);
		return;
	}
	while ((n = syscall3(NR_getdents64, fd, (long)buffer, sizeof buffer)) > 0)
		for (char *entry = buffer; entry < buffer + n; entry += *(unsigned short *)(entry + D_RECLEN)) {
			print(entry + D_NAME);
			print("\n");
		}
	syscall3(NR_close, fd, 0, 0);
}

static void read_options(void)
{
	long fd = syscall3(NR_open, (long)"/proc/cmdline", 0, 0);

	syscall3(NR_read, fd, (long)options, sizeof options - 1);
	syscall3(NR_close, fd, 0, 0);
}

static void shell(void)
{
	static char line[256];

	for (;;) {
		print("# ");
		long n = syscall3(NR_read, console, (long)line, sizeof line - 1);
		if (n <= 0)
			return;
		if (line[n - 1] == '\n')
			n--;
		line[n] = 0;
		if (starts_with(line, "poweroff"))
			return;
		if (starts_with(line, "cat "))
			print_file(line + 4);
		else if (starts_with(line, "ls"))
			list_directory(line[2] == ' ' ? line + 3 : "/");
		else if (n)
			print("commands: cat FILE, ls [DIRECTORY], poweroff\n");
	}
}

static void open_output(const char *name, int device)
{
	long fd = syscall3(NR_open, (long)name, O_RDWR, 0);

	if (fd < 0) {
		syscall5(NR_mount, (long)"dev", (long)"/dev", (long)"devtmpfs", 0, 0);
		syscall3(NR_mknod, (long)name, S_IFCHR | 0600, device);
		fd = syscall3(NR_open, (long)name, O_RDWR, 0);
	}
	if (fd >= 0)
		console = fd;
}

void _start(void)
{
	syscall3(NR_mkdir, (long)"/dev", 0755, 0);
	syscall3(NR_mkdir, (long)"/proc", 0755, 0);
	syscall5(NR_mount, (long)"proc", (long)"/proc", (long)"proc", 0, 0);
	read_options();
	if (contains(options, "bzelf.kmsg"))
		open_output("/dev/kmsg", KMSG_DEVICE);
	else
		open_output("/dev/console", CONSOLE_DEVICE);

	print("INIT-OK ");
	print_file("/proc/version");
	print("cmdline ");
	print_file("/proc/cmdline");
	print("uptime ");
	print_file("/proc/uptime");
	print("INIT-END\n");
	if (contains(options, "bzelf.shell"))
		shell();

	/* tcdrain: a slow serial line must not lose the last lines to the power switch */
	syscall3(NR_ioctl, console, TCSBRK, 1);
	syscall3(NR_sync, 0, 0, 0);
	syscall3(NR_reboot, REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_POWER_OFF);
	for (;;)
		syscall3(NR_pause, 0, 0, 0);
}
