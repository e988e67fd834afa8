package arena

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

func TestCloseIsIdempotent(t *testing.T) {
	var none *Arena
	if err := none.Close(); err != nil {
		t.Error(err)
	}
	a := open(t, Config{})
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Alloc(0, 0); !errors.Is(err, ErrClosed) || errors.Is(err, ErrNoMemory) {
		t.Errorf("Alloc after Close: %v", err)
	}
}

func TestCloseWhileBusy(t *testing.T) {
	a := open(t, Config{Name: "shop"})
	run := alloc(t, a, 3, 0)
	words(a, run)[0] = 42
	err := a.Close()
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "arena shop: ") || !strings.Contains(err.Error(), "1 runs, 32768 bytes") {
		t.Errorf("Close with a run of 8 pages: %v", err)
	}
	if words(a, run)[0] != 42 {
		t.Error("a refused Close lost the contents")
	}
	a.Free(alloc(t, a, 0, 0).Page)
	a.Free(run.Page)
}

// What was handed out stays mapped and reads zero; the page map knows nothing.
func TestClosedRangeStaysMapped(t *testing.T) {
	a := open(t, Config{})
	run := alloc(t, a, 3, 0)
	for i := range words(a, run) {
		words(a, run)[i] = 1
	}
	a.SetOwner(run.Page, 3, 9)
	a.Free(run.Page)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if !allZero(words(a, run)) {
		t.Error("a closed arena kept its contents")
	}
	if _, _, ok := a.Head(run.Page); ok || a.Owner(run.Page) != 0 {
		t.Error("a closed arena has runs")
	}
	if n := a.Stats().Nodes[0]; n.Used+n.Free+n.Purged != 0 || a.Purge(0) != 0 {
		t.Errorf("a closed arena holds memory: %+v", n)
	}
}

func TestCloseReportsRefusal(t *testing.T) {
	a := open(t, Config{})
	a.Free(alloc(t, a, 0, 0).Page)
	restore := sys.FailNth(sys.CallDiscard, 0, syscall.EINVAL)
	err := a.Close()
	restore()
	if !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Close with discards refused: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

func TestPopulate(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is populated")
	}
	for _, refusal := range []error{nil, syscall.EINVAL} { // as before Linux 5.14
		restore := func() {}
		if refusal != nil {
			restore = sys.FailNth(sys.CallPopulate, 0, refusal)
		}
		a := open(t, Config{Populate: true})
		run := alloc(t, a, 9, 0)
		restore()
		status := make([]int32, 1)
		for page := range uint32(1 << 9) {
			err := sys.NodesOf([]uintptr{a.Addr(run.Page + page)}, status)
			if err == nil && status[0] < 0 {
				t.Fatalf("refusal %v: page %d isn't there: %d", refusal, page, status[0])
			}
		}
		if !run.Zero || !allZero(words(a, run)) {
			t.Error("a populated run isn't zero")
		}
		a.Free(run.Page)
	}
}

func TestRefusedCommit(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is committed")
	}
	for call, cfg := range map[sys.Call]Config{sys.CallPopulate: {Populate: true}, sys.CallLock: {Lock: true}} {
		a := open(t, cfg)
		restore := sys.FailNth(call, 1, syscall.ENOMEM)
		_, err := a.Alloc(0, 0)
		restore()
		if !errors.Is(err, ErrCommit) || !errors.Is(err, ErrNoMemory) || !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("%v fails: %v", call, err)
		}
		if n := a.Stats().Nodes[0]; n.Runs != 0 || n.Used != 0 {
			t.Errorf("%v failed and left %+v", call, n)
		}
	}
}

// Locked pages are never given back, and count as resident for good.
func TestLock(t *testing.T) {
	a := open(t, Config{Lock: true, MaxDirty: 1, Limit: 4 * mem.PageSize})
	run, err := a.Alloc(1, 0)
	if err != nil {
		t.Skip(err) // RLIMIT_MEMLOCK
	}
	a.Free(run.Page)
	if n := a.Purge(0); n != 0 {
		t.Errorf("Purge released %d locked bytes", n)
	}
	if _, err := a.Alloc(2, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("6 pages, 2 of them locked, with a limit of 4: %v", err)
	}
	a.Free(alloc(t, a, 1, 0).Page)
}
