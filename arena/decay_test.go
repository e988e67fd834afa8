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

// In these tests time is the bubble's: a tick is a second, and nothing happens
// but while they sleep.
const (
	testDecay = ticks * time.Second
	justAfter = time.Millisecond
)

// bubble runs a test on an arena that decays and keeps whatever is freed until
// then, unless cfg says otherwise.
func bubble(t *testing.T, cfg Config, test func(t *testing.T, a *Arena)) {
	t.Helper()
	if cfg.Decay == 0 {
		cfg.Decay = testDecay
	}
	if cfg.MaxDirty == 0 {
		cfg.MaxDirty = 1 << 40
	}
	synctest.Test(t, func(t *testing.T) { test(t, open(t, cfg)) })
}

// sleep lets time pass and what is due then happen.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// free is the bytes freed and resident, of all nodes.
func free(a *Arena) (bytes uint64) {
	for _, n := range a.Stats().Nodes {
		bytes += n.Free
	}
	return bytes
}

// drop allocates so many runs and frees them.
func drop(t *testing.T, a *Arena, count, order int, node numa.Node) {
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
		for range 2 { // the timer rests in between
			before := a.Stats().Decayed
			drop(t, a, 5, 0, 0)
			drop(t, a, 3, 4, 1)
			size := uint64(5+48) * mem.PageSize
			sleep(testDecay - justAfter)
			if n := free(a); n != size {
				t.Fatalf("%d bytes of %d are left before they were idle long enough", n, size)
			}
			sleep(testDecay/ticks + 2*justAfter)
			if n, decayed := free(a), a.Stats().Decayed-before; n != 0 || decayed != size {
				t.Fatalf("%d bytes left, %d given back of %d", n, decayed, size)
			}
			if run := alloc(t, a, 4, 1); !run.Zero {
				t.Error("what was given back isn't zero")
			} else {
				a.Free(run.Page)
				a.Purge(0)
			}
			sleep(time.Hour)
		}
	})
}

// The timer runs while there is something dirty, and not before, after, or after
// Close.
func TestNothingTicksWithoutDirtyPages(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		running := func() bool { // and stops it
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

// A Free just before disarm clears armed doesn't arm, so disarm must.
func TestDisarmLooksAgain(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		a.decay.armed.Store(true) // the timer's goroutine has seen nothing dirty
		a.Free(alloc(t, a, 0, 0).Page)
		a.disarm()
		sleep(2 * testDecay)
		if n := free(a); n != 0 {
			t.Errorf("%d bytes are never released", n)
		}
	})
}

// Of ten pages four are needed now and then.
func TestNeededPagesStay(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		drop(t, a, 10, 0, 0)
		for range 40 {
			drop(t, a, 4, 0, 0)
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

// Pages freed after others were purged are no older for that.
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

// A page that comes and goes splits a block of 4 MiB and merges it again, which
// neither makes all of it young nor the page idle.
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
			t.Errorf("%d bytes stay for the sake of one page", n)
		}
	})
}

// A large run that comes and goes keeps its pages while small ones that lie
// about lose theirs.
func TestOldestDecaysFirst(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		var kept, small []Run
		for range 64 {
			small = append(small, alloc(t, a, 0, 0))
			kept = append(kept, alloc(t, a, 0, 0)) // so that the others can't merge
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

// While the rate lets little through, no node waits until another is done.
func TestNodesDecayInTurn(t *testing.T) {
	bubble(t, Config{Topology: nodes(t, 0, 1), Span: 4 * maxRun, ReleaseRate: mib}, func(t *testing.T, a *Arena) {
		drop(t, a, 4, MaxOrder, 0)
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
		drop(t, a, 4, MaxOrder, 0)
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
	for name, cfg := range map[string]Config{"switched off": {Decay: -1}, "locked": {Lock: true}} {
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

// What the kernel doesn't take is offered again, but not at every tick.
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

// A discard that the kernel refuses while the timer's goroutine looks the other
// way starts it again.
func TestRefusedPurgeArms(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is discarded")
	}
	bubble(t, Config{}, func(t *testing.T, a *Arena) {
		a.Free(alloc(t, a, 3, 0).Page)
		z := &a.zones[0]
		page, order, _ := a.detach(z, z.detach)
		sleep(2 * testDecay) // nothing is dirty: the timer rests
		restore := sys.FailNth(sys.CallDiscard, 1, syscall.EINVAL)
		_ = a.vacate(z, page, order)
		restore()
		sleep(2 * testDecay)
		if n := free(a); n != 0 {
			t.Errorf("%d bytes are never released", n)
		}
	})
}

// A Free that finds purging taken leaves its excess to whoever has it.
func TestDecayTrims(t *testing.T) {
	bubble(t, Config{MaxDirty: mem.PageSize}, func(t *testing.T, a *Arena) {
		a.purging.Lock()
		drop(t, a, 8, 0, 0)
		a.purging.Unlock()
		sleep(testDecay/ticks + justAfter)
		if n := free(a); n > mem.PageSize {
			t.Errorf("%d bytes are left, MaxDirty is a page", n)
		}
	})
}
