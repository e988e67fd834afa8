package slub

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
)

// The runtime ends the process if it moves a goroutine's stack on which a pointer lies in the first
// page. So no operation has such a number as a pointer while a Report hook makes the stack grow.
// Each case has a goroutine of its own, whose stack is small.

// growStack makes the calling goroutine's stack grow to more than half a megabyte.
func growStack(*hooks.Report) { deep(500) }

//go:noinline
func deep(calls int) byte {
	var frame [1024]byte
	if calls > 0 {
		frame[calls%len(frame)] = deep(calls - 1)
	}
	return frame[0]
}

// Such a number may be what a wild write has left in a sheaf.
func TestStackGrowsInReportOfSheaf(t *testing.T) {
	for name, way := range sheafTakers {
		t.Run(name, func(t *testing.T) {
			c, reports := openOverwritten(t, way.config, true)
			with := way.config.Hooks
			with.Report = func(r *hooks.Report) { *reports = append(*reports, r); growStack(r) }
			setHooks(t, c, with)
			pinned(t, 0, func() {
				n, more := 8, 0
				if way.spare { // main becomes the spare
					n, more = c.sheaves.Capacity(), 8
				}
				ps := take(t, c, n+more)
				freeAll(c, ps[:n])
				overwriteSheaf(t, c, percpu.Main, 8, 2)
				freeAll(c, ps[n:])
				var got []unsafe.Pointer
				for tries := 0; tries < 8 && len(*reports) < 2; tries++ {
					got = append(got, way.take(t, c)...)
				}
				freeAll(c, got)
				c.Shrink()
			})
			wantSheafReports(t, name, *reports, 8)
		})
	}
}

// A caller may pass such a number.
func TestStackGrowsInReportOfPointer(t *testing.T) {
	const number = 8
	for name, pass := range map[string]func(t *testing.T, b *Buckets, c *Cache){
		"Cache.Free":         func(_ *testing.T, _ *Buckets, c *Cache) { c.Free(mem.Ptr(number)) },
		"Cache.FreeRCU":      func(_ *testing.T, _ *Buckets, c *Cache) { c.FreeRCU(mem.Ptr(number)) },
		"Cache.FreeDeferred": func(_ *testing.T, _ *Buckets, c *Cache) { c.FreeDeferred(mem.Ptr(number)) },
		"Cache.FreeBulk": func(_ *testing.T, _ *Buckets, c *Cache) {
			c.FreeBulk([]unsafe.Pointer{mem.Ptr(number), mem.Ptr(number)})
		},
		"Buckets.Free":         func(_ *testing.T, b *Buckets, _ *Cache) { b.Free(mem.Ptr(number)) },
		"Buckets.FreeRCU":      func(_ *testing.T, b *Buckets, _ *Cache) { b.FreeRCU(mem.Ptr(number)) },
		"Buckets.FreeDeferred": func(_ *testing.T, b *Buckets, _ *Cache) { b.FreeDeferred(mem.Ptr(number)) },
		"Buckets.Size":         func(_ *testing.T, b *Buckets, _ *Cache) { b.Size(mem.Ptr(number)) },
		"Buckets.Realloc":      func(_ *testing.T, b *Buckets, _ *Cache) { _, _ = b.Realloc(mem.Ptr(number), 100) },
		"Buckets.FreeBytes": func(_ *testing.T, b *Buckets, _ *Cache) {
			b.FreeBytes(unsafe.Slice((*byte)(mem.Ptr(number)), 8))
		},
		"Buckets.FreeBulk": func(_ *testing.T, b *Buckets, _ *Cache) {
			b.FreeBulk([]unsafe.Pointer{mem.Ptr(number), mem.Ptr(number)})
		},
		"Local.Free": func(t *testing.T, _ *Buckets, c *Cache) {
			l, err := c.NewLocal(0)
			same(t, "NewLocal", err, nil)
			defer l.Close()
			l.Free(mem.Ptr(number))
		},
		"Account.Free": func(t *testing.T, b *Buckets, _ *Cache) {
			a, err := b.NewAccount(AccountConfig{})
			same(t, "NewAccount", err, nil)
			defer a.Close()
			a.Free(mem.Ptr(number))
		},
	} {
		for _, hardened := range []int{None, On} {
			t.Run(name, func(t *testing.T) {
				reports := 0
				with := hooks.Hooks{Report: func(r *hooks.Report) { reports++; growStack(r) }}
				c := open(t, nil, Config{Size: 64, Hardened: hardened, Hooks: with})
				b := openBuckets(t, nil, BucketsConfig{Name: "stack", Hardened: hardened, Hooks: with})
				pass(t, b, c)
				same(t, "Barrier", c.Barrier(t.Context()), nil)
				if reports == 0 {
					t.Error("nothing is reported")
				}
			})
		}
	}
}
