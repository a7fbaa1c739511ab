/*
 * Drives libxenguest, the domain builder of Xen's toolstack, without a hypervisor: with guest_domid 0 it builds the
 * domain in the memory of this process. Its log goes to standard error. The last line of standard output is "built" or
 * the step that failed; MEMORY gets the domain's pages, each at its pseudo-physical address.
 *
 * usage: libxenguest KERNEL MEBIBYTES MEMORY [INITRD]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenguest.h>

#define PAGE 4096

/* Libxenguest clears the xenstore and console pages by a hypercall; here they are fresh anyway. */
int xc_clear_domain_pages(xc_interface *xch, uint32_t domid, unsigned long pfn, int count)
{
	(void)xch, (void)domid, (void)pfn, (void)count;
	return 0;
}

static int failed(const char *step)
{
	printf("%s\n", step);
	return 1;
}

static int write_memory(const struct xc_dom_image *dom, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return -1;
	for (const struct xc_dom_phys *block = dom->phys_pages; block; block = block->next) {
		size_t size = block->count * PAGE;
		if (block->ptr && pwrite(fd, block->ptr, size, block->first * PAGE) != (ssize_t)size)
			return -1;
	}
	return close(fd);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	xentoollog_logger *log = (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_DEBUG, 0);
	xc_interface *xch = xc_interface_open(log, log, XC_OPENFLAG_DUMMY);
	if (!xch)
		return 2;
	xc_dom_loginit(xch);
	struct xc_dom_image *dom = xc_dom_allocate(xch, "console=hvc0", NULL);
	if (!dom)
		return 2;
	/* What xc_dom_boot_xen_init asks the hypervisor. */
	dom->xch = xch;
	dom->guest_domid = 0;
	dom->xen_version = (4 << 16) | 17;
	strcpy(dom->xen_caps, "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ");

	if (xc_dom_kernel_file(dom, argv[1]))
		return failed("xc_dom_kernel_file");
	if (argc > 4 && xc_dom_module_file(dom, argv[4], NULL))
		return failed("xc_dom_module_file");
	if (xc_dom_parse_image(dom))
		return failed("xc_dom_parse_image");
	if (xc_dom_rambase_init(dom, 0))
		return failed("xc_dom_rambase_init");
	if (xc_dom_mem_init(dom, atoi(argv[2])))
		return failed("xc_dom_mem_init");

	/* What meminit_pv does with frames that the hypervisor gave: here machine frame n is frame n. */
	dom->p2m_size = dom->total_pages;
	dom->pv_p2m = xc_dom_malloc(dom, sizeof(*dom->pv_p2m) * dom->p2m_size);
	for (xen_pfn_t i = 0; i < dom->p2m_size; i++)
		dom->pv_p2m[i] = i;

	if (xc_dom_build_image(dom))
		return failed("xc_dom_build_image");
	if (xc_dom_compat_check(dom) != 1)
		return failed("xc_dom_compat_check");
	if (dom->arch_hooks->setup_pgtables(dom))
		return failed("setup_pgtables");
	if (dom->arch_hooks->start_info(dom))
		return failed("start_info");
	if (write_memory(dom, argv[3]))
		return 2;
	printf("built\n");
	return 0;
}
