//go:build !race && !asan && !invariants

package slub_test

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub"
)

// resident returns how many of the n bytes at p lie on pages that were touched.
func resident(t *testing.T, p unsafe.Pointer, n int) (bytes int) {
	t.Helper()
	pages := make([]byte, (n+mem.PageSize-1)/mem.PageSize)
	_, _, e := syscall.Syscall(syscall.SYS_MINCORE, uintptr(p), uintptr(n),
		uintptr(unsafe.Pointer(&pages[0])))
	if e != 0 {
		t.Fatal(e)
	}
	for _, p := range pages {
		bytes += int(p&1) * mem.PageSize
	}
	return bytes
}

// What the kernel has just zeroed is not written to: a large object is not resident before its
// user touches it. Once it was used, it is zeroed. The test is not built with a sanitizer, whose
// builds put the arena into memory that other objects have used, nor with invariants, which read
// clean runs.
func TestMallocZeroTouchesNoFreshPage(t *testing.T) {
	for name, cfg := range map[string]slub.BucketsConfig{
		"plain": {}, "hook": {Hooks: hooks.Hooks{Alloc: func(hooks.Object) {}}}, "init on alloc": {Flags: slub.InitOnAlloc},
	} {
		for kind, n := range map[string]int{"run": 3 * mib, "mapping": 2*maxRun + 1} {
			t.Run(name+", "+kind, func(t *testing.T) {
				b := openBuckets(t, nil, cfg)
				for _, zero := range []func() (unsafe.Pointer, error){
					func() (unsafe.Pointer, error) { return b.MallocZero(n) },
					func() (unsafe.Pointer, error) { return b.ReallocZero(nil, 0, n) },
				} {
					p, err := zero()
					if err != nil {
						t.Fatal(err)
					}
					if got := resident(t, p, n); got > 0 {
						t.Errorf("%d of %d fresh bytes are resident", got, n)
					}
					fill(p, n, 0xee)
					b.Free(p)
					if p, err = zero(); err != nil || unlike(p, n, 0) >= 0 {
						t.Errorf("%d bytes that were used before are not zero: %v", n, err)
					}
					b.Free(p)
					b.Arena().Purge(0)
				}
			})
		}
	}
}

// Of a large object's pages some were kept from the one before, the others are new. MallocZero
// zeroes the former and doesn't touch the latter.
func TestMallocZeroOfPartlyKeptMapping(t *testing.T) {
	const n, kept = 3*maxRun - 100, maxRun
	for name, flags := range map[string]slub.Flags{"plain": 0, "init on alloc": slub.InitOnAlloc} {
		b := openBuckets(t, newArena(t, arena.Config{MaxDirty: kept, Decay: arena.None}), slub.BucketsConfig{Flags: flags})
		p, err := b.Malloc(n)
		if err != nil {
			t.Fatal(err)
		}
		fill(p, n, 0xee)
		b.Free(p)
		q, err := b.MallocZero(n)
		if err != nil {
			t.Fatal(err)
		}
		if got := resident(t, q, n); q != p || got != kept {
			t.Errorf("%s: %d bytes at %p are resident, want %d at %p", name, got, q, kept, p)
		}
		if at := unlike(q, n, 0); at >= 0 {
			t.Errorf("%s: byte %d isn't zero", name, at)
		}
		b.Free(q)
	}
}
