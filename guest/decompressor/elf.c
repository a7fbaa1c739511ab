/*
 * Obeys the program headers of the kernel (an ELF file that may lie anywhere, also where its segments go): file bytes
 * to p_paddr, moved with the image; relocations; zeroes up to p_memsz and between the segments. Whatever cannot be
 * obeyed is refused before the first byte moves.
 */
#include <elf.h>
#include "bytes.h"
#include "decompressor.h"

#ifdef __x86_64__
typedef Elf64_Ehdr Ehdr;
typedef Elf64_Phdr Phdr;
#define CLASS ELFCLASS64
#define MACHINE EM_X86_64
#else
typedef Elf32_Ehdr Ehdr;
typedef Elf32_Phdr Phdr;
#define CLASS ELFCLASS32
#define MACHINE EM_386
#endif

#define MAX_SEGMENTS 32

struct segment {
	const uint8_t *from;
	uintptr_t to; /* from the kernel's address, like end */
	uintptr_t filesz;
	uintptr_t memsz;
	uintptr_t vaddr;
	int moved;
};

struct kernel {
	struct segment segments[MAX_SEGMENTS]; /* by ascending `to` */
	unsigned count;
	uintptr_t entry; /* from the kernel's address */
	uintptr_t link_virtual; /* virtual address of its first byte as linked */
	uintptr_t file_end; /* of the last byte that comes from the file */
	uintptr_t end;
};

static void insert_segment(struct kernel *kernel, const struct segment *segment)
{
	unsigned i = kernel->count++;

	for (; i && kernel->segments[i - 1].to > segment->to; i--)
		kernel->segments[i] = kernel->segments[i - 1];
	kernel->segments[i] = *segment;
}

static void read_segment(struct kernel *kernel, const Phdr *phdr, const uint8_t *file, uintptr_t move)
{
	const struct parameters *p = &parameters;
	uintptr_t offset = phdr->p_offset, filesz = phdr->p_filesz, memsz = phdr->p_memsz;
	uintptr_t to = phdr->p_paddr - p->load_physical_addr;
	uintptr_t align = phdr->p_align;

	if (filesz > memsz)
		refuse("p_filesz exceeds p_memsz");
	if (offset > p->elf_size || filesz > p->elf_size - offset)
		refuse("a segment lies outside the ELF file");
	if (phdr->p_paddr < p->load_physical_addr || to > p->output_size || memsz > p->output_size - to)
		refuse("a segment lies outside the kernel's memory");
	if (align & (align - 1))
		refuse("p_align is no power of two");
	if (align && (move & (align - 1)))
		refuse("the kernel's address breaks p_align");
	if (kernel->count == MAX_SEGMENTS)
		refuse("too many segments");
	insert_segment(kernel, &(struct segment){file + offset, to, filesz, memsz, phdr->p_vaddr, 0});
}

static void read_segments(struct kernel *kernel, const Ehdr *ehdr, const uint8_t *file, uintptr_t move)
{
	const uint8_t *table = file + ehdr->e_phoff;

	for (unsigned i = 0; i < ehdr->e_phnum; i++) {
		const Phdr *phdr = (const Phdr *)(table + i * sizeof(Phdr));

		if (phdr->p_type == PT_LOAD && phdr->p_memsz)
			read_segment(kernel, phdr, file, move);
	}
	if (!kernel->count)
		refuse("no segment to load");
	for (unsigned i = 0; i < kernel->count; i++) {
		const struct segment *s = &kernel->segments[i];

		if (s->to < kernel->end)
			refuse("segments overlap");
		kernel->end = s->to + s->memsz;
		if (s->filesz)
			kernel->file_end = s->to + s->filesz;
	}
	if (kernel->file_end < sizeof(uint64_t))
		refuse("the segments hold no code");
	kernel->link_virtual = kernel->segments[0].vaddr - kernel->segments[0].to;
}

/* e_entry is a physical address; a virtual one is understood too. */
static void find_entry(struct kernel *kernel, uintptr_t e_entry)
{
	uintptr_t physical = e_entry - parameters.load_physical_addr;
	const struct segment *s, *end = kernel->segments + kernel->count;

	for (s = kernel->segments; s < end; s++)
		if (physical - s->to < s->memsz) {
			kernel->entry = physical;
			return;
		}
	for (s = kernel->segments; s < end; s++)
		if (e_entry - s->vaddr < s->memsz) {
			kernel->entry = e_entry - s->vaddr + s->to;
			return;
		}
	refuse("e_entry lies outside every segment");
}

static void read_kernel(struct kernel *kernel, const uint8_t *file, uintptr_t move)
{
	const Ehdr *ehdr = (const Ehdr *)file;
	uintptr_t elf_size = parameters.elf_size;

	if (elf_size < sizeof(Ehdr) || load32(ehdr->e_ident) != ELFMAG0123)
		refuse("no ELF file");
	if (ehdr->e_ident[EI_CLASS] != CLASS || ehdr->e_machine != MACHINE)
		refuse("an ELF file for another machine");
	if (ehdr->e_ident[EI_DATA] != ELFDATA2LSB || ehdr->e_ident[EI_VERSION] != EV_CURRENT)
		refuse("an ELF file of unknown encoding");
	if (ehdr->e_type != ET_EXEC && ehdr->e_type != ET_DYN)
		refuse("not an executable ELF file");
	if (ehdr->e_phentsize != sizeof(Phdr))
		refuse("e_phentsize is wrong");
	if (ehdr->e_phoff > elf_size || ehdr->e_phnum * sizeof(Phdr) > elf_size - ehdr->e_phoff)
		refuse("the program headers lie outside the ELF file");
	read_segments(kernel, ehdr, file, move);
	find_entry(kernel, ehdr->e_entry);
}

static int overlap(const uint8_t *a, uintptr_t a_size, const uint8_t *b, uintptr_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/*
 * Memory for what is in the way: where the payload was before it was decompressed, less what the kernel takes of it. An ELF file that is run from where it lies leaves none.
 */
struct scratch {
	uint8_t *next;
	uint8_t *end;
};

static struct scratch find_scratch(const struct kernel *kernel, const uint8_t *file, uint8_t *output)
{
	const struct parameters *p = &parameters;
	uint8_t *start = (uint8_t *)image, *end = start + (p->initrd_size ? p->initrd_offset : p->tail_offset);
	uintptr_t used = (uintptr_t)p->elf_size + p->relocations_size;

	if (file != output)
		return (struct scratch){end, end};
	if (used < kernel->end)
		used = kernel->end;
	if (overlap(output, p->output_size, start, (uintptr_t)(end - start)) && output + used > start)
		start = output + used;
	return (struct scratch){start, end};
}

static const uint8_t *to_scratch(struct scratch *scratch, const uint8_t *from, uintptr_t size)
{
	uint8_t *to = scratch->next;

	if (to > scratch->end || size > (uintptr_t)(scratch->end - to))
		refuse("init_size leaves no room to reorder the segments");
	copy_forwards(to, from, size);
	scratch->next += size;
	return to;
}

static int in_the_way(const struct kernel *kernel, const struct segment *s, const uint8_t *output)
{
	for (unsigned i = 0; i < kernel->count; i++) {
		const struct segment *other = &kernel->segments[i];

		if (other != s && !other->moved && overlap(output + s->to, s->filesz, other->from, other->filesz))
			return 1;
	}
	return 0;
}

/* A segment may move when it covers no bytes that have yet to move; if none may, one steps aside. */
static void move_segments(struct kernel *kernel, uint8_t *output, struct scratch *scratch)
{
	struct segment *end = kernel->segments + kernel->count;

	for (unsigned left = kernel->count; left;) {
		struct segment *waiting = 0;
		unsigned before = left;

		for (struct segment *s = kernel->segments; s < end; s++) {
			if (s->moved)
				continue;
			if (in_the_way(kernel, s, output)) {
				waiting = s;
				continue;
			}
			move_bytes(output + s->to, s->from, s->filesz);
			s->moved = 1;
			left--;
		}
		if (left == before)
			waiting->from = to_scratch(scratch, waiting->from, waiting->filesz);
	}
}

/* One list of 32-bit addresses, read backwards from `word` to its zero; returns the place before that. */
static const uint8_t *relocate(const struct kernel *kernel, const uint8_t *word, const uint8_t *start, uint8_t *output,
			       uintptr_t delta, unsigned size)
{
	uintptr_t link_virtual = kernel->link_virtual, limit = kernel->file_end - size;

	for (;; word -= 4) {
		if (unlikely(word < start))
			refuse("the relocation table has no beginning");
		int32_t address = (int32_t)load32(word);
		uintptr_t offset = (uintptr_t)(intptr_t)address - link_virtual;

		if (unlikely(offset > limit)) {
			if (!address)
				return word - 4;
			refuse("a relocation lies outside the kernel");
		}
		if (size == 8)
			*(le64 *)(output + offset) += delta;
		else
			*(le32 *)(output + offset) += (uint32_t)delta;
	}
}

static void apply_relocations(const struct kernel *kernel, const uint8_t *table, uint8_t *output, uintptr_t delta)
{
	unsigned groups = parameters.relocation_groups;
	const uint8_t *word = table + parameters.relocations_size - 4;

	if (groups >= 1)
		word = relocate(kernel, word, table, output, delta, 4);
#ifdef __x86_64__
	if (groups >= 3) /* differences from a base that moves: the other way */
		word = relocate(kernel, word, table, output, -delta, 4);
	if (groups >= 2)
		word = relocate(kernel, word, table, output, delta, 8);
#endif
	(void)word;
}

static void clear_gaps(const struct kernel *kernel, uint8_t *output)
{
	uintptr_t done = 0;

	for (unsigned i = 0; i < kernel->count; i++) {
		const struct segment *s = &kernel->segments[i];

		fill_zero(output + done, s->to - done);
		done = s->to + s->filesz;
	}
	fill_zero(output + done, kernel->end - done);
}

uintptr_t place_kernel(const uint8_t *file, uint8_t *output, uintptr_t virtual_address)
{
	const struct parameters *p = &parameters;
	uintptr_t delta = virtual_address - p->load_physical_addr;
	const uint8_t *table = file + p->elf_size;
	struct kernel kernel = {.count = 0};
	struct scratch scratch;

	read_kernel(&kernel, file, (uintptr_t)output - p->load_physical_addr);
	scratch = find_scratch(&kernel, file, output);
	if (delta) {
		for (unsigned i = 0; i < kernel.count; i++) {
			const struct segment *s = &kernel.segments[i];

			if (overlap(output + s->to, s->filesz, table, p->relocations_size)) {
				table = to_scratch(&scratch, table, p->relocations_size);
				break;
			}
		}
	}
	move_segments(&kernel, output, &scratch);
	if (delta)
		apply_relocations(&kernel, table, output, delta);
	clear_gaps(&kernel, output);
	return (uintptr_t)output + kernel.entry;
}
