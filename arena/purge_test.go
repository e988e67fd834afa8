package arena

import (
	"errors"
	"runtime"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

func TestPurge(t *testing.T) {
	a := open(t, Config{MaxDirty: Unlimited})
	var kept []Run
	for _, order := range []int{0, 4, 8} {
		run := alloc(t, a, order, 0)
		for i := range words(a, run) {
			words(a, run)[i] = 1
		}
		kept = append(kept, alloc(t, a, order, 0)) // the buddy, so that freed runs can't merge
		a.Free(run.Page)
	}
	if n := a.Purge(1); n != mem.PageSize<<8 {
		t.Errorf("Purge(1) released %d bytes, the largest run has %d", n, mem.PageSize<<8)
	}
	if n := a.Purge(0); n != mem.PageSize*(1+16) {
		t.Errorf("Purge(0) released %d bytes of 17 pages", n)
	}
	if n := a.Purge(0); n != 0 {
		t.Errorf("a second Purge(0) released %d bytes", n)
	}
	for _, order := range []int{0, 4, 8} {
		run := alloc(t, a, order, 0)
		if !run.Zero || !allZero(words(a, run)) {
			t.Errorf("order %d: after Purge %+v", order, run)
		}
		kept = append(kept, run)
	}
	for _, run := range kept {
		a.Free(run.Page)
	}
}

// Of several blocks of one size, Purge leaves the one that was freed last, which may be in a CPU's
// cache.
func TestPurgeTakesTheOldest(t *testing.T) {
	a := open(t, Config{})
	old, kept, young := alloc(t, a, 4, 0), alloc(t, a, 4, 0), alloc(t, a, 4, 0)
	a.Free(old.Page)
	a.Free(young.Page)
	a.Purge(1)
	run := alloc(t, a, 4, 0)
	if run.Page != young.Page || run.Zero {
		t.Errorf("Purge left %+v, not %+v", run, young)
	}
	a.Free(run.Page)
	a.Free(kept.Page)
}

func TestFreeDiscardsTheExcess(t *testing.T) {
	a := open(t, Config{MaxDirty: 16 * mem.PageSize})
	var runs []Run
	for range 64 {
		runs = append(runs, alloc(t, a, 0, 0))
	}
	for i, run := range runs {
		a.Free(run.Page)
		n := a.Stats().Nodes[0]
		if n.Free > 16*mem.PageSize {
			t.Fatalf("%d bytes free and resident", n.Free)
		}
		if i < 16 && n.Free != int64(i+1)*mem.PageSize {
			t.Fatalf("%d runs freed, %d bytes kept", i+1, n.Free)
		}
	}
}

func TestDefaultExcess(t *testing.T) {
	var a Arena
	a.limit.Store(Unlimited)
	least := minDirty() / mem.PageSize
	for _, c := range []struct{ charged, dirty, want int64 }{ // pages
		{charged: least, dirty: least, want: 0},
		{charged: least + 3, dirty: least + 3, want: 3},
		{charged: 900000, dirty: 100000, want: 0}, // 1/8 of 800000
		{charged: 910000, dirty: 110000, want: 10000},
	} {
		a.ledger.word.Store(uint64(c.charged<<32 | c.dirty))
		if got := a.excess(); got != c.want*mem.PageSize {
			t.Errorf("%d pages, %d of them dirty: excess of %d bytes, want %d pages", c.charged, c.dirty, got, c.want)
		}
	}
	a.cfg.Lock = true
	if got := a.excess(); got != 0 {
		t.Errorf("locked: excess of %d bytes", got)
	}
}

// While a block is leaving, an Alloc that is at the limit waits until it has left, and so does a
// Purge.
func TestDiscardersTakeTurns(t *testing.T) {
	a := open(t, Config{Limit: 4 * mem.PageSize})
	a.Free(alloc(t, a, 1, 0).Page)
	z := &a.zones[0]
	a.purging.Lock()
	page, order, _ := a.detach(z, z.detach)
	done := make(chan error, 2)
	go func() {
		run, err := a.Alloc(2, 0)
		if err == nil {
			a.Free(run.Page)
		}
		done <- err
	}()
	go func() { a.Purge(0); done <- nil }()
	for range 1000 {
		runtime.Gosched()
		if len(done) > 0 {
			t.Fatalf("Alloc or Purge didn't wait: %v", <-done)
		}
	}
	a.uncharge(z.home, 1<<order)
	z.mu.Lock()
	z.attach(page, clean, order)
	z.mu.Unlock()
	a.purging.Unlock()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A run that the kernel doesn't discard stays dirty and charged, is handed out again, and is
// discarded by the next Purge.
func TestRefusedDiscard(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is discarded")
	}
	a := open(t, Config{Topology: nodes(t, 0, 1), Limit: 16 * mem.PageSize, MaxDirty: mem.PageSize})
	restore := sys.FailNth(sys.CallDiscard, 0, syscall.EINVAL)
	run := alloc(t, a, 2, 0)
	words(a, run)[7] = 1
	a.Free(run.Page) // above MaxDirty
	if n := a.Purge(0); n != 0 {
		t.Errorf("Purge released %d bytes", n)
	}
	if s := a.Stats(); s.Nodes[0].Free != 4*mem.PageSize || s.DiscardFailures != 2 {
		t.Errorf("after refused discards: %+v", s)
	}
	if _, err := a.Alloc(4, 1); !errors.Is(err, ErrLimit) {
		t.Errorf("Alloc with all pages of the limit charged: %v", err)
	}
	if again := alloc(t, a, 2, 0); again.Page != run.Page || again.Zero {
		t.Errorf("after refused discards of %+v: %+v", run, again)
	}
	a.Free(run.Page)
	restore()
	if n := a.Purge(0); n != 4*mem.PageSize {
		t.Errorf("Purge released %d bytes once the kernel agreed", n)
	}
}

func TestRefusedDiscardOnFullNode(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is discarded")
	}
	a := open(t, Config{Span: 4 * mib})
	a.Free(alloc(t, a, 0, 0).Page)
	defer sys.FailNth(sys.CallDiscard, 0, syscall.EINVAL)()
	if _, err := a.Alloc(MaxOrder, 0); !errors.Is(err, ErrExhausted) {
		t.Errorf("Alloc that needs a discard: %v", err)
	}
}
