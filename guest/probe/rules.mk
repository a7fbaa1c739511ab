PROBE_C := main.c console.c crc32.c paging.c segments.c linux.c pvh.c multiboot.c xen.c
PROBE_HEADERS := $(wildcard probe/*.h) include/boot_params.h include/io.h
PROBE_OBJECTS32 := $(patsubst %,$(OUT)/probe32-%.o,entry32.S data.S notes.S $(PROBE_C))
PROBE_OBJECTS64 := $(patsubst %,$(OUT)/probe64-%.o,entry64.S data.S notes.S $(PROBE_C))
# The probe runs wherever it is put. CPUID, which it uses, came with the i586.
PROBE_CFLAGS := -fpie -fvisibility=hidden

all: $(OUT)/probe32 $(OUT)/probe64

$(OUT)/probe32-%.o: probe/% $(PROBE_HEADERS) | $(OUT)
	$(CC) $(CFLAGS32) $(PROBE_CFLAGS) -march=i586 -c -o $@ $<

$(OUT)/probe64-%.o: probe/% $(PROBE_HEADERS) | $(OUT)
	$(CC) $(CFLAGS64) $(PROBE_CFLAGS) -mno-red-zone -c -o $@ $<

$(OUT)/probe%.ld: probe/probe.ld.S probe/layout.h | $(OUT)
	$(CC) -m$* -Ui386 -E -P -o $@ $<

# The relocations of data stay in the file, as a kernel's do: they are what a relocatable image is made from. Those of
# the text are all relative, and those of the notes describe the file as it is.
define link_probe
	$(LD) -m $(1) -z noexecstack -z max-page-size=4096 --emit-relocs --no-warn-rwx-segments -T $@.ld -o $@.elf $(2)
	$(OBJCOPY) --remove-relocations=.text --remove-relocations=.notes --strip-unneeded $@.elf $@
	node probe/seal.mjs $@
endef

$(OUT)/probe32: $(PROBE_OBJECTS32) $(OUT)/probe32.ld probe/seal.mjs
	$(call link_probe,elf_i386,$(PROBE_OBJECTS32))

$(OUT)/probe64: $(PROBE_OBJECTS64) $(OUT)/probe64.ld probe/seal.mjs
	$(call link_probe,elf_x86_64,$(PROBE_OBJECTS64))
