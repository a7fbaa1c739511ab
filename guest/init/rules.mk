INIT_SOURCES := init/init.c init/syscall.h init/init.ld

all: $(OUT)/init32 $(OUT)/init64

$(OUT)/init32: $(INIT_SOURCES) | $(OUT)
	$(CC) $(CFLAGS32) $(LDFLAGS) -s -T init/init.ld -o $@ $<

$(OUT)/init64: $(INIT_SOURCES) | $(OUT)
	$(CC) $(CFLAGS64) $(LDFLAGS) -s -T init/init.ld -o $@ $<
