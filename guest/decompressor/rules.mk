# One program per word size and codec. What touches every byte is built for speed, the rest for size. The 64-bit tail enables SSE.
DECOMPRESSOR_CODECS := none gzip lz4 zstd xz
DECOMPRESSOR_PARTS := head main command-line console elf kaslr
DECOMPRESSOR_PARTS32 := $(DECOMPRESSOR_PARTS) processor
DECOMPRESSOR_PARTS64 := $(DECOMPRESSOR_PARTS) identity-map la57
# Only LZ4 is so fast that copying 16 bytes at once makes a difference.
DECOMPRESSOR_SSE2_lz4 := sse2-lz4
DECOMPRESSOR_LINK_gzip := --defsym=decode_sse2=decode
DECOMPRESSOR_LINK_zstd := --defsym=decode_sse2=decode
DECOMPRESSOR_LINK_xz := --defsym=decode_sse2=decode
DECOMPRESSOR_HEADERS := $(wildcard decompressor/*.h) include/boot_params.h include/elf.h include/io.h
DECOMPRESSOR_CFLAGS := -std=gnu11 -Wall -Wextra -Werror -ffreestanding -fpie -fvisibility=hidden \
	-fno-stack-protector -fno-ident -fno-asynchronous-unwind-tables -fcf-protection=none -ffunction-sections \
	-fno-tree-loop-distribute-patterns -Iinclude
DECOMPRESSOR_CFLAGS32 := $(DECOMPRESSOR_CFLAGS) -m32 -march=i386 -mtune=generic -mno-80387
DECOMPRESSOR_CFLAGS64 := $(DECOMPRESSOR_CFLAGS) -m64 -mno-red-zone
DECOMPRESSOR_EMULATION32 := elf_i386
DECOMPRESSOR_EMULATION64 := elf_x86_64
DECOMPRESSOR_TABLES32 := 0
DECOMPRESSOR_TABLES64 := 0x2e000

# The same with SSE2, for 32-bit processors that turn out to have it.
$(OUT)/decompressor32-sse2-%.o: decompressor/%.c $(DECOMPRESSOR_HEADERS) | $(OUT)
	$(CC) -O2 $(DECOMPRESSOR_CFLAGS32) -msse2 -Ddecode=decode_sse2 -Dchecksum=checksum_sse2 \
		-c -o $@ $<

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

# $(1): bits, $(2): codec
decompressor_codec = codec-$(2) $(if $(filter-out none,$(2)),unpack codec-checksum \
	$(if $(filter 32,$(1)),sse2-checksum $(DECOMPRESSOR_SSE2_$(2))))
define decompressor_program
all: $$(OUT)/decompressor$(1)_$(2)
$$(OUT)/decompressor$(1)_$(2).elf: $$(patsubst %,$$(OUT)/decompressor$(1)-%.o,$$(DECOMPRESSOR_PARTS$(1)) \
		$(call decompressor_codec,$(1),$(2))) decompressor/decompressor.ld
	$$(LD) -m $$(DECOMPRESSOR_EMULATION$(1)) -z noexecstack --no-warn-rwx-segments --gc-sections \
		--defsym=page_tables_size=$$(DECOMPRESSOR_TABLES$(1)) $(DECOMPRESSOR_LINK_$(2)) \
		-T decompressor/decompressor.ld -o $$@ $$(filter %.o,$$^)
$$(OUT)/decompressor$(1)_$(2): $$(OUT)/decompressor$(1)_$(2).elf
	$$(OBJCOPY) -O binary -j .head -j .text -j .rodata $$< $$@
endef
$(foreach bits,32 64,$(foreach codec,$(DECOMPRESSOR_CODECS),$(eval $(call decompressor_program,$(bits),$(codec)))))
