package slub

import "github.com/slubd/slubd/internal/percpu"

// Engine names the per-CPU engine of this process, "rseq" or "trylock", and gives the reason if
// it is not plain rseq. The environment variable SLUBD_ENGINE selects one. Any goroutine, at any
// time.
func Engine() (name, reason string) { return percpu.Engine(), percpu.Reason() }

// ThreadArea says how the threads of this process are registered for restartable sequences. owner
// is "libc" if libc registers them, or "slubd". mode is "legacy" for registrations of 32 bytes,
// "v2" for longer ones; Linux 7.1 and later do less for each switch of threads under "v2", earlier
// kernels do the same for both (Documentation/userspace-api/rseq.rst). Both are empty under the
// trylock engine. Any goroutine, at any time.
func ThreadArea() (owner, mode string) {
	a := percpu.Area()
	return a.Owner, a.Mode
}
