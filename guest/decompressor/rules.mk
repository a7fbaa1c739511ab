# One program per word size and codec. What touches every byte is built for speed, the rest for size. The 64-bit tail enables SSE.
DECOMPRESSOR_CODECS := none gzip lz4 zstd xz
DECOMPRESSOR_PARTS32 := head main command-line console elf kaslr
DECOMPRESSOR_PARTS64 := $(DECOMPRESSOR_PARTS32) identity-map la57
DECOMPRESSOR_HEADERS := $(wildcard decompressor/*.h) include/boot_params.h include/elf.h include/io.h
DECOMPRESSOR_CFLAGS := -std=gnu11 -Wall -Wextra -Werror -ffreestanding -fpie -fvisibility=hidden \
	-fno-stack-protector -fno-ident -fno-asynchronous-unwind-tables -fcf-protection=none -ffunction-sections \
	-fno-tree-loop-distribute-patterns -Iinclude
DECOMPRESSOR_CFLAGS32 := $(DECOMPRESSOR_CFLAGS) -m32 -march=i386 -mtune=generic -mgeneral-regs-only
DECOMPRESSOR_CFLAGS64 := $(DECOMPRESSOR_CFLAGS) -m64 -mno-red-zone
DECOMPRESSOR_EMULATION32 := elf_i386
DECOMPRESSOR_EMULATION64 := elf_x86_64
DECOMPRESSOR_TABLES32 := 0
DECOMPRESSOR_TABLES64 := 0x2e000

# $(1): bits
define decompressor_objects
$$(OUT)/decompressor$(1)-head.o: decompressor/head_$(1).S $$(DECOMPRESSOR_HEADERS) | $$(OUT)
	$$(CC) $$(DECOMPRESSOR_CFLAGS$(1)) -c -o $$@ $$<
$$(OUT)/decompressor$(1)-%.o: decompressor/%.c $$(DECOMPRESSOR_HEADERS) | $$(OUT)
	$$(CC) -Os $$(DECOMPRESSOR_CFLAGS$(1)) -c -o $$@ $$<
$$(OUT)/decompressor$(1)-codec-%.o: decompressor/%.c $$(DECOMPRESSOR_HEADERS) | $$(OUT)
	$$(CC) -O2 $$(DECOMPRESSOR_CFLAGS$(1)) -c -o $$@ $$<
endef
$(foreach bits,32 64,$(eval $(call decompressor_objects,$(bits))))

# $(1): bits, $(2): codec, $(3): its objects
define decompressor_program
all: $$(OUT)/decompressor$(1)_$(2)
$$(OUT)/decompressor$(1)_$(2).elf: $$(DECOMPRESSOR_PARTS$(1):%=$$(OUT)/decompressor$(1)-%.o) $(3:%=$$(OUT)/decompressor$(1)-%.o) decompressor/decompressor.ld
	$$(LD) -m $$(DECOMPRESSOR_EMULATION$(1)) -z noexecstack --no-warn-rwx-segments --gc-sections \
		--defsym=page_tables_size=$$(DECOMPRESSOR_TABLES$(1)) -T decompressor/decompressor.ld -o $$@ $$(filter %.o,$$^)
$$(OUT)/decompressor$(1)_$(2): $$(OUT)/decompressor$(1)_$(2).elf
	$$(OBJCOPY) -O binary -j .head -j .text -j .rodata $$< $$@
endef
$(foreach bits,32 64,$(eval $(call decompressor_program,$(bits),none,codec-none)))
$(foreach bits,32 64,$(foreach codec,$(filter-out none,$(DECOMPRESSOR_CODECS)),\
	$(eval $(call decompressor_program,$(bits),$(codec),codec-unpack codec-$(codec)))))
