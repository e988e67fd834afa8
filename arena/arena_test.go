package arena

import (
	"errors"
	"testing"
	"testing/fstest"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

const mib = 1 << 20

// nodes makes a topology of nodes with the given ids, each with a CPU and 1 GiB. The machine need
// not have them.
func nodes(t testing.TB, ids ...int) *numa.Topology {
	t.Helper()
	var list []testutil.SysNode
	for i, id := range ids {
		list = append(list, testutil.SysNode{ID: id, CPUs: []int{i}, Memory: 1 << 30})
	}
	return load(t, testutil.SysFS(list...))
}

func load(t testing.TB, fs fstest.MapFS) *numa.Topology {
	t.Helper()
	topo, err := numa.LoadFS(fs)
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// open makes an arena that is checked and closed when the test ends. Unless cfg says otherwise, its
// span is 8 MiB, its topology has node 0 only, and it has no decay.
func open(t testing.TB, cfg Config) *Arena {
	t.Helper()
	if cfg.Span == 0 {
		cfg.Span = 8 * mib
	}
	if cfg.Topology == nil {
		cfg.Topology = nodes(t, 0)
	}
	if cfg.Decay == 0 {
		cfg.Decay = None
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		check(a)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// check checks all equations. Preconditions: no goroutine is inside a method, except that of the
// timer, which waits for purging.
func check(a *Arena) {
	a.purging.Lock()
	defer a.purging.Unlock()
	var inUse, dirtyPages int64
	for i := range a.zones {
		z := &a.zones[i]
		z.mu.Lock()
		z.checkSums()
		z.check()
		inUse += int64(z.used)
		dirtyPages += int64(z.free[dirty.area()].pages)
		z.mu.Unlock()
	}
	checkHomes(a)
	used, free := checkMappings(a)
	inUse, dirtyPages = inUse+used, dirtyPages+free
	if charged, dirty := a.ledger.load(); charged != inUse+dirtyPages || dirty != dirtyPages {
		fail("ledger: %d pages charged, %d dirty; zones and mappings say %d, %d", charged, dirty, inUse+dirtyPages, dirtyPages)
	}
}

func alloc(t testing.TB, a *Arena, order int, node numa.Node) Run {
	t.Helper()
	run, err := a.Alloc(order, node)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// words views a run as words, also one that is free, which the address sanitizer would report.
func words(a *Arena, run Run) []uint64 {
	unpoison(a.Addr(run.Page), run.bytes())
	return unsafe.Slice(mem.At[uint64](a.Addr(run.Page)), run.bytes()/8)
}

func allZero(w []uint64) bool {
	for _, x := range w {
		if x != 0 {
			return false
		}
	}
	return true
}

func TestEveryOrder(t *testing.T) {
	a := open(t, Config{Span: 16 * mib})
	for order := 0; order <= MaxOrder; order++ {
		run := alloc(t, a, order, 0)
		if size := uintptr(mem.PageSize) << order; a.Addr(run.Page)%size != 0 {
			t.Errorf("order %d: run at %#x", order, a.Addr(run.Page))
		}
		if !run.Zero || !allZero(words(a, run)) || int(run.Order) != order || run.Node != 0 {
			t.Errorf("order %d: first run is %+v", order, run)
		}
		for page := run.Page; page < run.Page+1<<order; page++ {
			if head, got, ok := a.Head(page); head != run.Page || got != 1<<order || !ok {
				t.Fatalf("order %d: Head(%d) = %d, %d, %v; run at %d", order, page, head, got, ok, run.Page)
			}
		}
		a.Free(run.Page)
		if _, _, ok := a.Head(run.Page + 1<<order - 1); ok {
			t.Errorf("order %d: the last page has a head after Free", order)
		}
	}
}

func TestFreedRunComesBackDirty(t *testing.T) {
	a := open(t, Config{})
	run := alloc(t, a, 3, 0)
	words(a, run)[100] = 1
	a.Free(run.Page)
	if again := alloc(t, a, 3, 0); again.Page != run.Page || again.Zero {
		t.Errorf("got %+v after %+v was freed: resident pages should come first", again, run)
	} else {
		a.Free(again.Page)
	}
}

func TestRefusals(t *testing.T) {
	a := open(t, Config{})
	for _, c := range []struct {
		order int
		node  numa.Node
		want  error
	}{
		{order: -1, want: ErrOrder},
		{order: MaxOrder + 1, want: ErrOrder},
		{node: 1, want: ErrNode},
		{node: numa.NoNode, want: ErrNode},
	} {
		if _, err := a.Alloc(c.order, c.node); !errors.Is(err, c.want) || errors.Is(err, ErrNoMemory) {
			t.Errorf("Alloc(%d, %d): %v, want %v", c.order, c.node, err, c.want)
		}
	}
}

func TestExhaustedIsNoMemory(t *testing.T) {
	a := open(t, Config{Span: 4 * mib})
	run := alloc(t, a, MaxOrder, 0)
	if _, err := a.Alloc(0, 0); !errors.Is(err, ErrExhausted) || !errors.Is(err, ErrNoMemory) {
		t.Errorf("Alloc on a full node: %v", err)
	}
	a.Free(run.Page)
	a.Free(alloc(t, a, 0, 0).Page)
}

// A clean and a dirty half of a block don't merge, until an Alloc on a full node discards the dirty
// one.
func TestExhaustionMergesCleanAndDirty(t *testing.T) {
	a := open(t, Config{Span: 4 * mib})
	a.Free(alloc(t, a, MaxOrder-1, 0).Page)
	run := alloc(t, a, MaxOrder, 0)
	if !run.Zero {
		t.Error("a run merged by discarding isn't known to be zero")
	}
	a.Free(run.Page)
}

func TestBadFreePanics(t *testing.T) {
	a := open(t, Config{})
	run := alloc(t, a, 2, 0)
	pages := map[string]uint32{"inner page": run.Page + 1, "free page": run.Page + 4, "virgin page": a.Pages() - 1, "no page": a.Pages()}
	free := func(page uint32) (bad *BadFree) {
		defer func() { bad, _ = recover().(*BadFree) }()
		a.Free(page)
		return nil
	}
	for name, page := range pages {
		if bad := free(page); bad == nil || bad.Page != page {
			t.Errorf("%s: Free(%d) panics with %v", name, page, bad)
		}
	}
	if bad := free(run.Page); bad != nil {
		t.Error(bad)
	}
	if free(run.Page) == nil {
		t.Error("a second Free passes")
	}
}

func TestOwnersAndMeta(t *testing.T) {
	a := open(t, Config{})
	before := alloc(t, a, 0, 0)
	run := alloc(t, a, 2, 0)
	a.SetOwner(run.Page, 4, 7)
	owners := unsafe.Slice((*uint32)(a.Owners()), a.Pages())
	for i := range uint32(4) {
		if a.Owner(run.Page+i) != 7 || owners[run.Page+i] != 7 {
			t.Errorf("page %d of the run has owner %d", i, a.Owner(run.Page+i))
		}
	}
	if a.Owner(before.Page) != 0 || a.Owner(run.Page+4) != 0 {
		t.Error("pages beside the run have its owner")
	}
	meta := unsafe.Slice((*byte)(a.Meta(run.Page)), metaSize)
	if uintptr(unsafe.Pointer(&meta[0]))%metaSize != 0 {
		t.Errorf("record at %p", &meta[0])
	}
	for i := range meta {
		meta[i] = 0xff
	}
	a.Free(run.Page)
	if a.Owner(run.Page) != 0 || a.Owner(run.Page+3) != 0 {
		t.Error("pages have an owner after Free")
	}
	again := alloc(t, a, 2, 0)
	for i, b := range unsafe.Slice((*byte)(a.Meta(again.Page)), metaSize) {
		if b != 0 {
			t.Fatalf("byte %d of the record is %#x after Alloc", i, b)
		}
	}
	a.Free(again.Page)
	a.Free(before.Page)
}

func TestHeadOutside(t *testing.T) {
	a := open(t, Config{})
	for _, page := range []uint32{0, a.Pages() - 1, a.Pages(), 1<<32 - 1} {
		if _, _, ok := a.Head(page); ok {
			t.Errorf("virgin page %d has a head", page)
		}
	}
}
