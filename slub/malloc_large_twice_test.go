package slub

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
)

// Of several goroutines that free one large object at once, in whatever way, one frees it and each
// of the others makes one report. The counts stay right, and a real leak is still found.
func TestLargeFreedAtOnce(t *testing.T) {
	const goroutines = 4
	rounds := 500
	if sanitized {
		rounds = 100
	}
	free, freeRCU := (*Buckets).Free, (*Buckets).FreeRCUNoWait
	for kind, size := range map[string]int{"page class": 100_000, "run": 1_200_000, "mapping": maxRun + 1} {
		for way, ways := range map[string][]func(*Buckets, unsafe.Pointer){
			"Free": {free, free}, "FreeRCU": {freeRCU, freeRCU}, "both": {free, freeRCU},
		} {
			t.Run(fmt.Sprintf("%s, %s", kind, way), func(t *testing.T) {
				var reports atomic.Int64
				b := openBuckets(t, nil, BucketsConfig{Name: "twice", Domain: new(rcu.Domain),
					Hooks: hooks.Hooks{Report: func(*hooks.Report) { reports.Add(1) }}})
				leak := malloc(t, b, size)
				for range rounds {
					p := malloc(t, b, size)
					reports.Store(0)
					var gate, done sync.WaitGroup
					gate.Add(goroutines)
					for i := range goroutines {
						done.Go(func() {
							gate.Done()
							gate.Wait()
							ways[i%len(ways)](b, p)
						})
					}
					done.Wait()
					same(t, "Barrier", b.Barrier(context.Background()), nil)
					if n, inUse := reports.Load(), b.Stats().Objects; n != goroutines-1 || inUse != 1 {
						t.Fatalf("%d goroutines: %d reports, %d objects in use", goroutines, n, inUse)
					}
				}
				same(t, "Close with a leak", b.Close(), ErrBusy)
				b.Free(leak)
			})
		}
	}
}

// A large object that waits for its grace period still has its size for its readers. It is not in
// the list of what Close finds in use. One that a hook keeps is in use again.
func TestLargeClaimed(t *testing.T) {
	for kind, size := range map[string]int{"page class": 100_000, "run": 1_200_000, "mapping": maxRun + 1} {
		listed := func(b *Buckets) uint64 {
			if size <= maxPageClass {
				return b.Stats().Objects
			}
			return uint64(b.listLarge().out.n)
		}
		t.Run(kind, func(t *testing.T) {
			var kept int
			var kinds []hooks.Kind
			b := openBuckets(t, nil, BucketsConfig{Domain: new(rcu.Domain), Hooks: hooks.Hooks{
				Free:   func(hooks.Object) bool { kept++; return kept == 1 },
				Report: func(r *hooks.Report) { kinds = append(kinds, r.Kind) },
			}})
			p := malloc(t, b, size)
			r := register(t, b.config.Domain)
			b.FreeRCUNoWait(p)
			if n := b.Size(p); n < size || size > maxPageClass && listed(b) != 0 {
				t.Errorf("under a reader: size %d of %d, %d objects listed", n, size, listed(b))
			}
			b.Free(p)
			_ = r.Close()
			same(t, "Barrier", b.Barrier(context.Background()), nil)
			if n := b.Stats().Objects; n != 1 || listed(b) != 1 {
				t.Errorf("a kept object: %d in use, %d listed", n, listed(b))
			}
			b.Free(p)
			if len(kinds) != 1 || kinds[0] != hooks.DoubleFree || b.Stats().Objects != 0 {
				t.Errorf("reports %v, %d in use", kinds, b.Stats().Objects)
			}
		})
	}
}

// A claim that comes late, when the page lies inside another run of these Buckets, is refused and
// leaves that run as it is.
func TestLargeClaimedLate(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{})
	p := malloc(t, b, 1_200_000)
	l, _ := b.largeAt(p)
	inside := large{addr: l.addr + 64<<10, bytes: 64 << 10, page: l.page + 16}
	before := b.arena.Owner(inside.page)
	if now, ok := b.claimRun(inside); ok || b.arena.Owner(inside.page) != before {
		t.Errorf("claimed %+v inside a run, owner %#x before and %#x now", now, before, b.arena.Owner(inside.page))
	}
	b.Free(p)
}
