#include <stdint.h>

// These are sys.GuardArea and its parts; guard_cgo.go compares the sizes.
enum { SLUBD_GUARD_SLOTS = 255, SLUBD_GUARD_TEXT = 2048 };

struct slubd_guard_slot {
	uint64_t object, size;
	uint32_t state, alloc_cpu, free_cpu, unused;
	int64_t allocated, freed;
	char cache[104];
	char alloc_stack[SLUBD_GUARD_TEXT];
	char free_stack[SLUBD_GUARD_TEXT];
};

struct slubd_guard_area {
	uint64_t start, pages, reports, unused;
	struct slubd_guard_slot slots[SLUBD_GUARD_SLOTS];
};

// Has faults in the area reported, for as long as the process lives. Returns 0 or an errno. Calls
// must not overlap.
int slubd_guard_watch(struct slubd_guard_area *area);
