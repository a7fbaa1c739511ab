/*
 * Kernel address space layout randomisation: a random multiple of the alignment for the kernel's physical address,
 * among all places in free memory that hold it, and for 64-bit kernels another one for its virtual address.
 */
#include <io.h>
#include "bytes.h"
#include "decompressor.h"

#define MAX_AVOID 64
#define MAX_SETUP_DATA 256
#define LOWEST_BASE 0x20000000u /* never above the buffer we were given, nor higher than this, begins the search */
#ifdef __x86_64__
#define HIGHEST_END (1ull << 46) /* what four paging levels map directly */
#define MULTIPLIER 0x9e3779b97f4a7c15ul
#else
#define HIGHEST_END 0x20000000ull /* the kernel's mapping of low memory */
#define MULTIPLIER 0x9e3779b9ul
#endif

#define EFI_LOADER_32 0x32334c45 /* "EL32" */
#define EFI_LOADER_64 0x34364c45 /* "EL64" */
#define EFI_CONVENTIONAL_MEMORY 7
#define EFI_MEMORY_SP (1ull << 18)
#define EFI_PAGE_SHIFT 12

struct efi_memory_desc {
	uint32_t type;
	uint32_t pad;
	uint64_t phys_addr;
	uint64_t virt_addr;
	uint64_t num_pages;
	uint64_t attribute;
};

#define I8254_COMMAND 0x43
#define I8254_COUNTER0 0x40
#define I8254_READ_BACK_STATUS 0xe2
#define I8254_LATCH 0
#define I8254_NULL_COUNT 0x40

#define CPUID_TSC_BIT 4
#define CPUID_RDRAND_BIT 30

struct range {
	uint64_t start;
	uint64_t end;
};

static struct range avoid[MAX_AVOID];
static unsigned avoided;
static int cannot_avoid; /* something that we could not read or hold: leave the physical address alone */
static uint64_t memory_limit;

static void add_avoid(uint64_t start, uint64_t size)
{
	if (!size)
		return;
	if (avoided == MAX_AVOID) {
		cannot_avoid = 1;
		return;
	}
	avoid[avoided++] = (struct range){start, start + size};
}

/* ---- entropy ---- */

static int rdrand(uintptr_t *value)
{
	for (unsigned attempts = 10; attempts; attempts--) {
		uint8_t ok;

		__asm__ volatile("rdrand %0; setc %1" : "=r"(*value), "=qm"(ok));
		if (ok)
			return 1;
	}
	return 0;
}

static uintptr_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return low ^ (uintptr_t)((uint64_t)high << 32);
}

static uint16_t i8254(void)
{
	uint8_t low, high, status;
	unsigned attempts = 0x10000;

	do {
		outb(I8254_READ_BACK_STATUS, I8254_COMMAND);
		status = inb(I8254_COUNTER0);
	} while ((status & I8254_NULL_COUNT) && --attempts);
	outb(I8254_LATCH, I8254_COMMAND);
	low = inb(I8254_COUNTER0);
	high = inb(I8254_COUNTER0);
	return (uint16_t)(low | high << 8);
}

static uintptr_t rotate_xor(uintptr_t hash, const void *area, size_t size)
{
	const uintptr_t *word = area;

	for (size_t i = 0; i < size / sizeof hash; i++) {
		hash = hash << (8 * sizeof hash - 7) | hash >> 7;
		hash ^= word[i];
	}
	return hash;
}

/* What differs between machines and boots is in boot_params, what differs between kernels in our parameters. */
static uintptr_t random_number(void)
{
	uintptr_t random = rotate_xor(0, &parameters, sizeof parameters);
	uintptr_t raw, high;
	uint32_t eax = 1, ebx, ecx = 0, edx = 0;
	int use_i8254 = 1;

	random = rotate_xor(random, boot_params, sizeof *boot_params);
	if (has_cpuid())
		__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	if ((ecx >> CPUID_RDRAND_BIT & 1) && rdrand(&raw)) {
		random ^= raw;
		use_i8254 = 0;
	}
	if (edx >> CPUID_TSC_BIT & 1) {
		random ^= rdtsc();
		use_i8254 = 0;
	}
	if (use_i8254)
		random ^= i8254();
	/* Spread it over the word: the sum of both halves of a product. */
	__asm__("mul %2" : "=a"(random), "=d"(high) : "r"((uintptr_t)MULTIPLIER), "0"(random) : "cc");
	return random + high;
}

/* A number below `limit`, from its position between 0 and the largest: no division, and the high bits decide. */
static uintptr_t random_below(uintptr_t limit)
{
	uintptr_t random = random_number(), high;

	__asm__("mul %2" : "+a"(random), "=d"(high) : "r"(limit) : "cc");
	return high;
}

/* ---- what must stay free of the kernel ---- */

static const char *skip_word(const char *p, const char *word)
{
	while (*word)
		if (*p++ != *word++)
			return 0;
	return p;
}

/* A number with 0x or 0 in front and K, M, G, T behind, as the kernel's memparse(). */
static int parse_size(const char **text, uint64_t *value)
{
	const char *p = *text, *digits;
	unsigned base = 10, shift = 0;

	if (*p == '0') {
		base = 8;
		if ((p[1] | 0x20) == 'x') {
			base = 16;
			p += 2;
		}
	}
	*value = 0;
	for (digits = p;; p++) {
		unsigned c = (uint8_t)*p, d = c - '0';

		if (d > 9)
			d = (c | 0x20) - 'a' < 6 ? (c | 0x20) - 'a' + 10 : 16;
		if (d >= base)
			break;
		*value = *value * base + d;
	}
	if (p == digits)
		return 0;
	switch (*p | 0x20) {
	case 't':
		shift += 10; /* fall through */
	case 'g':
		shift += 10; /* fall through */
	case 'm':
		shift += 10; /* fall through */
	case 'k':
		shift += 10;
		p++;
	}
	*value <<= shift;
	*text = p;
	return 1;
}

static int ends_word(char c)
{
	return (uint8_t)c <= ' ';
}

/* memmap=SIZE limits, SIZE@START adds nothing that we would use, SIZE#START, SIZE$START and SIZE!START take away. */
static int parse_memmap(const char *p)
{
	for (;;) {
		uint64_t size, start;
		const char *next = skip_word(p, "exactmap");

		if (next) {
			p = next;
		} else {
			if (!parse_size(&p, &size))
				return 0;
			char kind = *p;

			if (kind == '@' || kind == '#' || kind == '$' || kind == '!' || kind == '%') {
				p++;
				if (!parse_size(&p, &start) || kind == '%')
					return 0;
				if (kind != '@')
					add_avoid(start, size);
			} else if (size < memory_limit) {
				memory_limit = size;
			}
		}
		if (*p != ',')
			return ends_word(*p);
		p++;
	}
}

static int parse_mem(const char *p)
{
	uint64_t size;

	if (skip_word(p, "nopentium"))
		return 1;
	if (!parse_size(&p, &size) || !ends_word(*p))
		return 0;
	if (size && size < memory_limit)
		memory_limit = size;
	return 1;
}

static void read_memory_options(void)
{
	const char *p = command_line();

	while (*p) {
		const char *value;

		while (*p && ends_word(*p))
			p++;
		if (((value = skip_word(p, "mem=")) && !parse_mem(value)) ||
		    ((value = skip_word(p, "memmap=")) && !parse_memmap(value)))
			cannot_avoid = 1;
		while (!ends_word(*p))
			p++;
	}
}

static void avoid_setup_data(void)
{
	uint64_t address = boot_params->hdr.setup_data;

	for (unsigned i = 0; address; i++) {
		if (i == MAX_SETUP_DATA || address != (uintptr_t)address) {
			cannot_avoid = 1;
			return;
		}
		const struct setup_data *data = (const struct setup_data *)(uintptr_t)address;

		add_avoid(address, sizeof *data + data->len);
		if (data->type == SETUP_INDIRECT && data->len >= sizeof(struct setup_indirect)) {
			const struct setup_indirect *indirect = (const struct setup_indirect *)(data + 1);

			add_avoid(indirect->addr, indirect->len);
		}
		address = data->next;
	}
}

static void find_what_to_avoid(uintptr_t buffer)
{
	const struct parameters *p = &parameters;
	uint64_t initrd = boot_params->hdr.ramdisk_image, size = boot_params->hdr.ramdisk_size;
	uint64_t line = command_line_pointer();
	unsigned length = 0;

	if (!boot_params->sentinel) {
		initrd |= (uint64_t)boot_params->ext_ramdisk_image << 32;
		size |= (uint64_t)boot_params->ext_ramdisk_size << 32;
	}
	while (line && command_line()[length])
		length++;
	add_avoid((uintptr_t)image, (uint64_t)buffer + p->init_size - (uintptr_t)image);
	add_avoid(0, 0x100000);
	add_avoid(initrd, size);
	add_avoid(line, length + 1);
	add_avoid((uintptr_t)boot_params, sizeof *boot_params);
	avoid_setup_data();
	read_memory_options();
}

/* ---- slots ---- */

/* Walks all places for the kernel; `wanted` counts down to the one that `found` is set to. */
struct search {
	uint64_t minimum;
	uint64_t size;
	uint64_t alignment;
	uint64_t wanted;
	uint64_t slots;
	uint64_t found;
};

static void count_slots(struct search *s, uint64_t start, uint64_t end)
{
	uint64_t slots;
	unsigned shift = __builtin_ctz((uint32_t)s->alignment);

	if (end < start || end - start < s->size)
		return;
	slots = ((end - start - s->size) >> shift) + 1;
	if (s->wanted >= s->slots && s->wanted - s->slots < slots)
		s->found = start + ((s->wanted - s->slots) << shift);
	s->slots += slots;
}

static void search_region(struct search *s, uint64_t start, uint64_t end)
{
	if (start < s->minimum)
		start = s->minimum;
	if (end > memory_limit)
		end = memory_limit;
	for (;;) {
		const struct range *first = 0;

		start = (start + s->alignment - 1) & -s->alignment;
		if (end < start || end - start < s->size)
			return;
		for (unsigned i = 0; i < avoided; i++)
			if (avoid[i].start < end && start < avoid[i].end && (!first || avoid[i].start < first->start))
				first = &avoid[i];
		if (!first) {
			count_slots(s, start, end);
			return;
		}
		if (first->start > start)
			count_slots(s, start, first->start);
		start = first->end;
	}
}

static int search_efi_map(struct search *s)
{
	const struct efi_info *efi = &boot_params->efi_info;
	uint64_t map = efi->efi_memmap | (uint64_t)efi->efi_memmap_hi << 32;

	if (efi->efi_loader_signature != EFI_LOADER_32 && efi->efi_loader_signature != EFI_LOADER_64)
		return 0;
	if (map != (uintptr_t)map || efi->efi_memdesc_size < sizeof(struct efi_memory_desc))
		return 0;
	identity_map(map, map + efi->efi_memmap_size);
	/* Only what nobody owns: boot services leave data in theirs that the kernel will want to read. */
	for (uint32_t at = 0; at + efi->efi_memdesc_size <= efi->efi_memmap_size; at += efi->efi_memdesc_size) {
		const struct efi_memory_desc *desc = (const struct efi_memory_desc *)(uintptr_t)(map + at);

		if (desc->type == EFI_CONVENTIONAL_MEMORY && !(desc->attribute & EFI_MEMORY_SP))
			search_region(s, desc->phys_addr, desc->phys_addr + (desc->num_pages << EFI_PAGE_SHIFT));
	}
	return 1;
}

static void search_memory(struct search *s)
{
	s->slots = 0;
	if (search_efi_map(s))
		return;
	for (unsigned i = 0; i < boot_params->e820_entries && i < E820_MAX_ENTRIES; i++) {
		const struct boot_e820_entry *entry = &boot_params->e820_table[i];

		if (entry->type == E820_RAM)
			search_region(s, entry->addr, entry->addr + entry->size);
	}
}

void choose_random_location(uintptr_t *output, uintptr_t *virtual_address)
{
	const struct parameters *p = &parameters;
	struct search s = {
		.minimum = *output < LOWEST_BASE ? *output : LOWEST_BASE,
		.size = p->output_size,
		.alignment = p->kernel_alignment,
		.wanted = ~0ull,
	};

	memory_limit = HIGHEST_END;
	find_what_to_avoid(*output);
	if (!cannot_avoid) {
		search_memory(&s);
		if (s.slots) {
			s.wanted = random_below((uintptr_t)s.slots);
			search_memory(&s);
			*output = (uintptr_t)s.found;
		}
	}
#ifdef __x86_64__
	uint64_t slots = (p->kernel_image_size - p->output_size - p->load_physical_addr) / p->kernel_alignment + 1;

	*virtual_address = p->load_physical_addr + random_below(slots) * p->kernel_alignment;
#else
	(void)virtual_address;
#endif
}
