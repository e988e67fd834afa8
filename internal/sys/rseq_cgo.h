#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Where each thread's struct rseq is; own: it is ours, not libc's.
struct slubd_rseq_area {
	ptrdiff_t offset;
	uint32_t size;
	bool own;
};

struct slubd_rseq_area slubd_rseq_area(void);

// Registers the calling thread's own area. Returns 0 or an errno.
int slubd_rseq_register(void);
