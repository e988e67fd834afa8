//go:build linux && !race && !asan

package slub_test

// With -race the arena is Go heap, with -asan each access touches the sanitizer's shadow as well.

import (
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub"
)

// An object of 8 MiB that is allocated, written and freed again and again costs no page fault: its
// pages stay with the freed mapping. So it is with MallocZero. With arena.None each round costs the
// faults that the count would have missed otherwise.
func TestLargeObjectsKeepTheirPages(t *testing.T) {
	const size, rounds = 8 << 20, 16
	round := map[string]func(*slub.Buckets) (unsafe.Pointer, error){
		"Malloc":     func(b *slub.Buckets) (unsafe.Pointer, error) { return b.Malloc(size) },
		"MallocZero": func(b *slub.Buckets) (unsafe.Pointer, error) { return b.MallocZero(size) },
	}
	faults := func(t *testing.T, maxDirty int64, alloc func(*slub.Buckets) (unsafe.Pointer, error)) (fewest, all int64) {
		a, err := arena.New(arena.Config{Span: 64 << 20, MaxDirty: maxDirty, Decay: arena.None, HugePages: arena.HugeNever})
		if err != nil {
			t.Fatal(err)
		}
		b, err := slub.NewBuckets(a, slub.BucketsConfig{Name: "faults"})
		if err != nil {
			t.Fatal(err)
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		fewest = 1 << 62
		for i := range 1 + rounds {
			before := threadFaults(t)
			p, err := alloc(b)
			if err != nil {
				t.Fatal(err)
			}
			bytes := unsafe.Slice((*byte)(p), size)
			for at := 0; at < size; at += mem.PageSize {
				bytes[at] = 1
			}
			b.Free(p)
			if n := threadFaults(t) - before; i > 0 { // the first round's pages are new
				fewest, all = min(fewest, n), all+n
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		return fewest, all
	}
	for name, alloc := range round {
		// Go's own faults come and go. Those of pages that are not there come in every round.
		if fewest, all := faults(t, 2*size, alloc); fewest != 0 || all >= size/mem.PageSize {
			t.Errorf("%s: %d page faults or more in each of %d rounds, %d in all", name, fewest, rounds, all)
		}
		if fewest, _ := faults(t, arena.None, alloc); fewest == 0 {
			t.Errorf("%s: no page faults although nothing is kept: they are not counted here", name)
		}
	}
}

// threadFaults is the number of page faults that the calling thread has had.
func threadFaults(t *testing.T) int64 {
	t.Helper()
	const rusageThread = 1
	var usage syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &usage); err != nil {
		t.Fatal(err)
	}
	return usage.Minflt
}
