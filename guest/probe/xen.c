/* Xen PV: hypercalls, the console, and what start_info hands over (Xen's public/xen.h). */
#include "probe.h"

#ifndef __x86_64__

/* 32-bit PV is gone from Linux since 5.10, and from here too. */
void xen_console_init(void) {}
int xen_console_write(const char *text, unsigned length) { return (void)text, (void)length, 0; }
void xen_shutdown(void) {}
void report_xen(uint64_t address) { (void)address; }

#else

enum { MEMORY_OP = 12, CONSOLE_IO = 18, SCHED_OP = 29, EVENT_CHANNEL_OP = 32 };
enum { CONSOLEIO_WRITE = 0, SCHEDOP_SHUTDOWN = 2, SHUTDOWN_POWEROFF = 0, XENMEM_MEMORY_MAP = 9, EVTCHNOP_SEND = 4 };
enum { SIF_INITDOMAIN = 2, SIF_MOD_START_PFN = 8, PAGE_SHIFT = 12 };

struct start_info {
	char magic[32];
	uint64_t nr_pages, shared_info;
	uint32_t flags, unused1;
	uint64_t store_mfn;
	uint32_t store_evtchn, unused2;
	uint64_t console_mfn;
	uint32_t console_evtchn, unused3;
	uint64_t pt_base, nr_pt_frames, mfn_list, mod_start, mod_len;
	char cmd_line[1024];
	uint64_t first_p2m_pfn, nr_p2m_frames;
};
_Static_assert(offsetof(struct start_info, cmd_line) == 128, "public/xen.h");

struct xencons_interface {
	char in[1024];
	char out[2048];
	uint32_t in_cons, in_prod, out_cons, out_prod;
};

#pragma GCC visibility push(hidden)
extern const uint8_t hypercall_page[], text_start[];
#pragma GCC visibility pop

static volatile struct xencons_interface *ring; /* none in dom0, whose console is Xen's own */
static const struct start_info *start_info;

static long hypercall(unsigned number, long a, const void *b, const void *c)
{
	const uint8_t *code = hypercall_page + number * 32;
	long result;

	__asm__ volatile("call *%1"
			 : "=a"(result), "+r"(code), "+D"(a), "+S"(b), "+d"(c)
			 :
			 : "rcx", "r8", "r9", "r10", "r11", "memory");
	return result;
}

/* Pseudo-physical memory is mapped from where the kernel's own first page says. */
static void *pfn_to_virtual(uint64_t pfn)
{
	return (void *)(text_start - PHYSICAL_ADDRESS + (pfn << PAGE_SHIFT));
}

void xen_console_init(void)
{
	start_info = at(entry_state.si);
	if (start_info->flags & SIF_INITDOMAIN)
		return;
	const uint64_t *mfn_list = at(start_info->mfn_list);
	for (uint64_t pfn = 0; pfn < start_info->nr_pages; pfn++)
		if (mfn_list[pfn] == start_info->console_mfn) {
			ring = pfn_to_virtual(pfn);
			return;
		}
}

static void notify_console(void)
{
	uint32_t port = start_info->console_evtchn;

	hypercall(EVENT_CHANNEL_OP, EVTCHNOP_SEND, &port, 0);
}

int xen_console_write(const char *text, unsigned length)
{
	if (!ring)
		return hypercall(CONSOLE_IO, CONSOLEIO_WRITE, (const void *)(uintptr_t)length, text);
	for (unsigned i = 0; i < length; i++) {
		while (ring->out_prod - ring->out_cons == sizeof ring->out)
			notify_console();
		ring->out[ring->out_prod % sizeof ring->out] = text[i];
		__asm__ volatile("mfence" : : : "memory");
		ring->out_prod++;
	}
	notify_console();
	return 0;
}

void xen_shutdown(void)
{
	uint32_t reason = SHUTDOWN_POWEROFF;

	hypercall(SCHED_OP, SCHEDOP_SHUTDOWN, &reason, 0);
}

static void report_memory(void)
{
	static struct boot_e820_entry map[E820_MAX_ENTRIES];
	struct {
		uint32_t nr_entries;
		void *buffer;
	} request = { E820_MAX_ENTRIES, map };

	if (hypercall(MEMORY_OP, XENMEM_MEMORY_MAP, &request, 0))
		return; /* dom0 has none of its own: all of its nr_pages */
	for (unsigned i = 0; i < request.nr_entries; i++)
		line_memory(map[i].addr, map[i].size, map[i].type);
}

void report_xen(uint64_t address)
{
	line_hex("", "start_info", address);
	line_string("start_info.magic", (uintptr_t)start_info->magic);
	line_hex("start_info.", "nr_pages", start_info->nr_pages);
	line_hex("start_info.", "shared_info", start_info->shared_info);
	line_hex("start_info.", "flags", start_info->flags);
	line_hex("start_info.", "pt_base", start_info->pt_base);
	line_hex("start_info.", "nr_pt_frames", start_info->nr_pt_frames);
	line_hex("start_info.", "mfn_list", start_info->mfn_list);
	line_hex("start_info.", "first_p2m_pfn", start_info->first_p2m_pfn);
	line_hex("start_info.", "nr_p2m_frames", start_info->nr_p2m_frames);
	report_memory();
	line_string("command_line", (uintptr_t)start_info->cmd_line);
	if (start_info->flags & SIF_MOD_START_PFN && start_info->mod_len) {
		/* left unmapped at our request, which we do not make */
		line_hex("initrd.", "pfn", start_info->mod_start);
		return;
	}
	line_initrd(start_info->mod_start, start_info->mod_len);
}

#endif
