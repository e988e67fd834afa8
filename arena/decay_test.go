package arena

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
)

// These tests run in a bubble of package synctest: a tick is a second, and time passes only while
// they sleep.
const (
	testDecay = ticks * time.Second
	justAfter = time.Millisecond
)

// bubble runs a test on an arena that, unless cfg says otherwise, keeps what is freed for
// testDecay.
func bubble(t *testing.T, cfg Config, test func(t *testing.T, a *Arena)) {
	t.Helper()
	if cfg.Decay == 0 {
		cfg.Decay = testDecay
	}
	if cfg.MaxDirty == 0 {
		cfg.MaxDirty = Unlimited
	}
	synctest.Test(t, func(t *testing.T) { test(t, open(t, cfg)) })
}

// sleep lets time pass and waits for everything that is due then.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// free is the number of bytes that are freed and resident, of all nodes.
func free(a *Arena) (bytes int64) {
	for _, n := range a.Stats().Nodes {
		bytes += n.Free
	}
	return bytes
}

// allocFree allocates count runs and then frees them.
func allocFree(t *testing.T, a *Arena, count, order int, node numa.Node) {
	t.Helper()
	var runs []Run
	for range count {
		runs = append(runs, alloc(t, a, order, node))
	}
	for _, run := range runs {
		a.Free(run.Page)
	}
}

func TestDecay(t *testing.T) {
	bubble(t, Config{Topology: nodes(t, 0, 1)}, func(t *testing.T, a *Arena) {
		for range 2 { // the timer does not run in between
			before := a.Stats().Decayed
			allocFree(t, a, 5, 0, 0)
			allocFree(t, a, 3, 4, 1)
			size := int64(5+48) * mem.PageSize
			sleep(testDecay - justAfter)
			if n := free(a); n != size {
				t.Fatalf("%d bytes of %d are left before they were idle long enough", n, size)
			}
			sleep(testDecay/ticks + 2*justAfter)
			if n, decayed := free(a), a.Stats().Decayed-before; n != 0 || decayed != size {
				t.Fatalf("%d bytes left, %d given back of %d", n, decayed, size)
			}
			if run := alloc(t, a, 4, 1); !run.Zero {
				t.Error("a run that was given back isn't zero")
			} else {
				a.Free(run.Page)
				a.Purge(0)
			}
			sleep(time.Hour)
		}
	})
}

// The timer runs while pages are dirty. It does not run before and afterwards, nor after Close.
func TestNothingTicksWithoutDirtyPages(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		running := func() bool { // stops the timer as well
			synctest.Wait()
			return a.decay.timer.Stop()
		}
		run := alloc(t, a, 0, 0)
		if running() {
			t.Error("a timer runs though nothing was freed")
		}
		a.Free(run.Page)
		sleep(2 * testDecay)
		if n := free(a); n != 0 || running() {
			t.Errorf("a timer runs though everything is released; %d bytes free", n)
		}
		a.Free(alloc(t, a, 0, 0).Page)
		if err := a.Close(); err != nil || running() {
			t.Errorf("a closed arena's timer runs, %v", err)
		}
	})
}

// The timer's last run has found nothing dirty when a page is freed: the timer is still armed, and
// so looks once more before it rests.
func TestFreeDuringLastRun(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		freed := false
		a.decay.timer.InitExclusive(func() time.Duration {
			rest := a.decayed()
			if rest == 0 && !freed {
				freed = true
				a.Free(alloc(t, a, 0, 0).Page)
			}
			return rest
		}, a.anyDirty, a.decay.tick)
		a.Free(alloc(t, a, 0, 0).Page)
		sleep(4 * testDecay)
		if n := free(a); n != 0 || !freed {
			t.Errorf("%d bytes are never released", n)
		}
	})
}

// Of ten free pages, the four that are needed now and then stay.
func TestNeededPagesStay(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		allocFree(t, a, 10, 0, 0)
		for range 40 {
			allocFree(t, a, 4, 0, 0)
			sleep(testDecay / 10)
		}
		if n := free(a); n != 4*mem.PageSize {
			t.Errorf("%d bytes are left of 10 pages, 4 of which are needed", n)
		}
		sleep(testDecay * (ticks + 2) / ticks)
		if n := free(a); n != 0 {
			t.Errorf("%d bytes are left when nothing is needed any more", n)
		}
	})
}

// Pages that are freed after a Purge are not older because the purged ones were.
func TestPurgeIsNoDecay(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		keep := alloc(t, a, 0, 0)
		a.Free(alloc(t, a, 4, 0).Page)
		sleep(testDecay - justAfter)
		a.Purge(0)
		a.Free(alloc(t, a, 4, 0).Page)
		sleep(testDecay - justAfter)
		if n := free(a); n != 16*mem.PageSize {
			t.Errorf("%d bytes are left of 16 pages before they were idle long enough", n)
		}
		a.Free(keep.Page)
	})
}

// A page that is allocated and freed all the time splits a block of 4 MiB and merges it again. That
// makes neither the whole block young nor the page idle.
func TestChurnHoldsNoNeighbours(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		a.Free(alloc(t, a, MaxOrder, 0).Page)
		for i := range 200 {
			run := alloc(t, a, 0, 0)
			if run.Zero {
				t.Fatalf("the page in use was discarded, round %d", i)
			}
			a.Free(run.Page)
			sleep(testDecay / 100)
		}
		if n := free(a); n != mem.PageSize {
			t.Errorf("%d bytes stay with one page in use", n)
		}
	})
}

// A large run that is allocated and freed all the time keeps its pages, while small runs that are
// not needed lose theirs.
func TestOldestDecaysFirst(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		var kept, small []Run
		for range 64 {
			small = append(small, alloc(t, a, 0, 0))
			kept = append(kept, alloc(t, a, 0, 0)) // keeps the others from merging
		}
		a.Free(alloc(t, a, MaxOrder, 0).Page)
		for _, run := range small {
			a.Free(run.Page)
		}
		for i := range 30 {
			sleep(testDecay / 10)
			run := alloc(t, a, MaxOrder, 0)
			if run.Zero {
				t.Fatalf("the run in use was discarded, round %d", i)
			}
			a.Free(run.Page)
		}
		if n := free(a); n != maxRun {
			t.Errorf("%d bytes are left, %d of a run in use", n, maxRun)
		}
		for _, run := range kept {
			a.Free(run.Page)
		}
	})
}

func TestReleaseRate(t *testing.T) {
	const rate, size = mib, 32 * mib
	bubble(t, Config{Span: size, ReleaseRate: rate}, func(t *testing.T, a *Arena) {
		var kept []Run
		for range size / mib { // runs of half a MiB that can't merge
			kept = append(kept, alloc(t, a, 7, 0))
			a.Free(alloc(t, a, 7, 0).Page)
			kept = append(kept, alloc(t, a, 7, 0))
		}
		for _, run := range kept[:len(kept)/2] {
			a.Free(run.Page)
		}
		size, start := free(a), time.Now()
		for free(a) > 0 {
			sleep(100 * time.Millisecond)
			spent := time.Since(start) - testDecay
			done := float64(a.Stats().Decayed)
			if most := rate * max(spent.Seconds(), 0); done > most+rate/20+maxRun {
				t.Fatalf("%.0f bytes released %v after Decay, the rate allows %.0f", done, spent, most)
			}
			if spent > 2*time.Duration(size/rate)*time.Second {
				t.Fatalf("%.0f bytes of %d released %v after Decay", done, size, spent)
			}
		}
		for _, run := range kept[len(kept)/2:] {
			a.Free(run.Page)
		}
	})
}

func TestUnlimitedReleaseRate(t *testing.T) {
	size := int64(1 << 30)
	if heapBacked {
		size >>= 3 // each discard clears it, and tells the detector of each word
	}
	bubble(t, Config{Span: size, ReleaseRate: Unlimited, NodeLimit: Unlimited}, func(t *testing.T, a *Arena) {
		allocFree(t, a, int(size/maxRun), MaxOrder, 0)
		sleep(testDecay*(ticks+1)/ticks + justAfter)
		if n := free(a); n != 0 {
			t.Errorf("%d bytes of %d are left one tick after Decay", n, size)
		}
	})
}

// With a low rate, no node has to wait until all of another node's pages are released.
func TestNodesDecayInTurn(t *testing.T) {
	bubble(t, Config{Topology: nodes(t, 0, 1), Span: 4 * maxRun, ReleaseRate: mib}, func(t *testing.T, a *Arena) {
		allocFree(t, a, 4, MaxOrder, 0)
		a.Free(alloc(t, a, 0, 1).Page)
		sleep(testDecay*(ticks+1)/ticks + 5*time.Second) // a run of 4 MiB takes 4
		if s := a.Stats(); s.Nodes[1].Free != 0 || s.Nodes[0].Free == 0 {
			t.Errorf("after the first run: %+v", s.Nodes)
		}
	})
}

// A timer that fires while Close runs finds nothing to release.
func TestDecayAfterClose(t *testing.T) {
	bubble(t, Config{Span: 4 * maxRun, ReleaseRate: mib}, func(t *testing.T, a *Arena) {
		allocFree(t, a, 4, MaxOrder, 0)
		sleep(testDecay*(ticks+1)/ticks + justAfter)
		if err := a.Close(); err != nil || a.Stats().Decayed != maxRun {
			t.Errorf("%d bytes were released before Close, %v", a.Stats().Decayed, err)
		}
		a.decay.credit = 1
		a.decayed()
		if n := a.Stats().Decayed; n != maxRun {
			t.Errorf("%d bytes released after Close", n-maxRun)
		}
	})
}

func TestNoDecay(t *testing.T) {
	for name, cfg := range map[string]Config{"switched off": {Decay: None}, "locked": {Lock: true}} {
		bubble(t, cfg, func(t *testing.T, a *Arena) {
			run, err := a.Alloc(0, 0)
			if err != nil {
				t.Skip(err) // RLIMIT_MEMLOCK
			}
			a.Free(run.Page)
			sleep(time.Hour)
			if n := free(a); n != mem.PageSize || a.Stats().DiscardFailures != 0 {
				t.Errorf("%s: %d bytes are left of a page", name, n)
			}
		})
	}
}

// A discard that the kernel refuses is tried again, but not at every tick.
func TestRefusedDecay(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is discarded")
	}
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		restore := sys.FailNth(sys.CallDiscard, 0, syscall.EINVAL)
		a.Free(alloc(t, a, 3, 0).Page)
		sleep(4 * testDecay)
		restore()
		if n := a.Stats().DiscardFailures; n < 2 || n > 4 {
			t.Errorf("%d attempts within four times Decay", n)
		}
		sleep(2 * testDecay)
		if n := free(a); n != 0 {
			t.Errorf("%d bytes are left once the kernel agrees", n)
		}
	})
}

// The refused discard of a block, which was leaving when the timer last ran, starts the timer
// again.
func TestRefusedPurgeArms(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is discarded")
	}
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		a.Free(alloc(t, a, 3, 0).Page)
		z := &a.zones[0]
		page, order, _ := a.detach(z, z.detach)
		sleep(2 * testDecay) // nothing is dirty: the timer stops
		restore := sys.FailNth(sys.CallDiscard, 1, syscall.EINVAL)
		_ = a.discardDetached(z, page, order)
		restore()
		sleep(2 * testDecay)
		if n := free(a); n != 0 {
			t.Errorf("%d bytes are never released", n)
		}
	})
}

// The timer discards the excess of Frees that could not lock purging.
func TestDecayTrims(t *testing.T) {
	bubble(t, Config{MaxDirty: mem.PageSize}, func(t *testing.T, a *Arena) {
		a.purging.Lock()
		allocFree(t, a, 8, 0, 0)
		a.purging.Unlock()
		sleep(testDecay/ticks + justAfter)
		if n := free(a); n > mem.PageSize {
			t.Errorf("%d bytes are left, MaxDirty is a page", n)
		}
	})
}
