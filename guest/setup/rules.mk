SETUP_SOURCES := header.S bios.S bios.c main.c command-line.c processor.c memory.c disks.c video.c a20.c
SETUP_HEADERS := setup/bios.h setup/setup.h setup/setup.ld include/boot_params.h include/io.h
SETUP_OBJECTS := $(SETUP_SOURCES:%=$(OUT)/setup-%.o)
CFLAGS16 := $(CFLAGS) -m16 -march=i386 -mpreferred-stack-boundary=2 -mregparm=3 -fno-jump-tables

all: $(OUT)/setup

$(OUT)/setup-%.o: setup/% $(SETUP_HEADERS) | $(OUT)
	$(CC) $(CFLAGS16) -c -o $@ $<

$(OUT)/setup.elf: $(SETUP_OBJECTS) setup/setup.ld
	$(LD) -m elf_i386 -z noexecstack --no-warn-rwx-segments -T setup/setup.ld -o $@ $(SETUP_OBJECTS)

$(OUT)/setup: $(OUT)/setup.elf
	$(OBJCOPY) -O binary $< $@
