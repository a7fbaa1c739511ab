INIT_HEADERS := init/syscall.h init/init.ld

all: $(OUT)/init32 $(OUT)/init64 $(OUT)/kexec64

$(OUT)/init32: init/init.c $(INIT_HEADERS) | $(OUT)
	$(CC) $(CFLAGS32) $(LDFLAGS) -s -T init/init.ld -o $@ $<

$(OUT)/%64: init/%.c $(INIT_HEADERS) | $(OUT)
	$(CC) $(CFLAGS64) $(LDFLAGS) -s -T init/init.ld -o $@ $<
